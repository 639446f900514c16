//! Expressions as texts, over rows encoded by hand.
