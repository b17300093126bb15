//! Renderers of an audit outcome.
