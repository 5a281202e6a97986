//! The operator console: pages and charts for people who would rather look.
