//! Taking away what is no longer needed, in bounded steps.
