//! Mail, against a real SMTP server.

use domain::UserId;
use processors::senders::{Email, EmailSender, SendFailure, SmtpConfig, SmtpSender};

use crate::smtp_server::{FULL, NOBODY, Security, SmtpServer};
use crate::support::USER;

#[tokio::test]
async fn a_mail_arrives_and_is_recognisable_when_it_is_sent_again() {
    let server = SmtpServer::start();
    let sender = sender(&server);
    let sent = sender.send(&mail("buyer@example.com")).await.unwrap();
    sender.send(&mail("buyer@example.com")).await.unwrap();

    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    for mail in &mails {
        assert_eq!(mail.to, ["buyer@example.com"]);
        let header = |name: &str| mail.text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        assert_eq!(header("Message-ID: "), "<0190-email@tickets.example>");
        assert_eq!(header("From: "), "Tickets <hello@tickets.example>");
        assert!(header("Subject: ").starts_with("=?utf-8?"), "{}", mail.text);
        assert!(mail.text.contains("Please pay soon."), "{}", mail.text);
    }
    assert_eq!(sent.provider_reference, "<0190-email@tickets.example>");
}

#[tokio::test]
async fn a_mailbox_that_refuses_is_told_from_one_that_is_full_for_now_and_no_reason_names_it() {
    let server = SmtpServer::start();
    let sender = sender(&server);
    let refused = sender.send(&mail(NOBODY)).await.unwrap_err();
    assert!(matches!(&refused, SendFailure::Refused(reason) if reason == "SMTP 550 5.1.1"), "{refused}");
    let full = sender.send(&mail(FULL)).await.unwrap_err();
    assert!(matches!(&full, SendFailure::Deferred(reason) if reason == "SMTP 452 4.2.2"), "{full}");
    let nonsense = sender.send(&mail("nobody at all")).await.unwrap_err();
    assert!(matches!(&nonsense, SendFailure::Refused(reason) if !reason.contains("nobody")), "{nonsense}");
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() {
    let mut server = SmtpServer::start();
    let sender = sender(&server);
    sender.send(&mail("buyer@example.com")).await.unwrap();
    server.close();
    let away = sender.send(&mail("buyer@example.com")).await.unwrap_err();
    assert!(matches!(away, SendFailure::Unavailable(_)), "{away}");
    server.open();
    sender.send(&mail("buyer@example.com")).await.unwrap();
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    // It accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", silent.local_addr().unwrap());
    let config = SmtpConfig { timeout_ms: 100, ..SmtpConfig::new(url, FROM) };
    let failure = SmtpSender::new(&config).unwrap().send(&mail("buyer@example.com")).await.unwrap_err();
    assert!(matches!(failure, SendFailure::Unavailable(_)), "{failure}");
}

#[tokio::test]
async fn mail_goes_over_tls_to_a_server_whose_certificate_is_trusted() {
    for security in [Security::Tls, Security::StartTls] {
        let server = SmtpServer::start_with(security, true);
        let trusting = SmtpConfig { ca_certificate_pem: Some(server.certificate_pem.clone()), ..config(&server) };
        SmtpSender::new(&trusting).unwrap().send(&mail("buyer@example.com")).await.unwrap();
        assert_eq!(server.mails().len(), 1);

        let stranger = sender(&server).send(&mail("buyer@example.com")).await.unwrap_err();
        assert!(matches!(stranger, SendFailure::Unavailable(_)), "{stranger}");
        assert_eq!(server.mails().len(), 1, "nothing is handed to a server that is not trusted");
    }
}

#[tokio::test]
async fn starttls_that_is_required_and_not_offered_keeps_the_mail() {
    let server = SmtpServer::start();
    let config = SmtpConfig::new(format!("{}?tls=required", server.url()), FROM);
    let failure = SmtpSender::new(&config).unwrap().send(&mail("buyer@example.com")).await.unwrap_err();
    assert!(matches!(failure, SendFailure::Unavailable(_)), "{failure}");
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_for_an_operator_to_mend_and_refuses_no_mail() {
    let server = SmtpServer::start_with(Security::Plain, true);
    let url = server.url().replace(crate::smtp_server::PASSWORD, "wrong");
    let failure = SmtpSender::new(&SmtpConfig::new(url, FROM)).unwrap().send(&mail("a@b.example")).await.unwrap_err();
    assert!(matches!(&failure, SendFailure::Unavailable(reason) if reason == "SMTP 535"), "{failure}");
    sender(&server).send(&mail("a@b.example")).await.unwrap();
}

#[tokio::test]
async fn a_setting_that_cannot_work_is_named() {
    let key = |url: &str, from: &str| SmtpSender::new(&SmtpConfig::new(url, from)).err().map(|error| error.key);
    assert_eq!(key("http://localhost", FROM), Some("url"));
    assert_eq!(key("smtp://localhost", "nobody"), Some("from"));
    let pem = Some(b"-----BEGIN CERTIFICATE-----".to_vec());
    let config = SmtpConfig { ca_certificate_pem: pem, ..SmtpConfig::new("smtps://localhost", FROM) };
    assert_eq!(SmtpSender::new(&config).err().map(|error| error.key), Some("ca_file"));
}

const FROM: &str = "Tickets <hello@tickets.example>";

fn config(server: &SmtpServer) -> SmtpConfig {
    SmtpConfig::new(server.url(), FROM)
}

fn sender(server: &SmtpServer) -> SmtpSender {
    SmtpSender::new(&config(server)).unwrap()
}

fn mail(to: &str) -> Email {
    Email {
        idempotency_key: "0190-email".to_owned(),
        user_id: UserId::new(USER).unwrap(),
        email: to.to_owned(),
        subject: "座位已为您保留".to_owned(),
        body: "The tickets of order ORD202312250001 are held for you. Please pay soon.".to_owned(),
    }
}
