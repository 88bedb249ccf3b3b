//! Scheduling, sampling, stop rules: text out of a session.
