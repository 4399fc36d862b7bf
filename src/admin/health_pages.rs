//! The admin address: Prometheus metrics and the three health pages.
//!
//! | page        | 200 when                             | else | who asks                       |
//! |-------------|--------------------------------------|------|--------------------------------|
//! | `/livez`    | no thread is stalled                 | 503  | a supervisor that restarts us  |
//! | `/readyz`   | running, and every channel takes     | 503  | a load balancer or VIP         |
//! | `/startupz` | running                              | 503  | whoever waits for the start    |
//!
//! A 503 lists its reasons, one a line, `key: reason`. `?format=json` gives the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::clock::wall_ms;
use super::health::{Health, Phase};
use super::progress::{ProgressBoard, Unit, WorkState};
use crate::metrics::{Registry, prometheus};

/// What the pages show.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) registry: Arc<Registry>,
    pub(super) health: Arc<Health>,
    pub(super) progress: Arc<ProgressBoard>,
}

/// The routes of the admin address.
pub(super) fn router(shown: Shown) -> Router {
    let (of_live, of_ready, of_startup) = (shown.clone(), shown.clone(), shown.clone());
    Router::new()
        .route("/", get(async || "/metrics\n/livez\n/readyz\n/startupz\n"))
        .route(
            "/metrics",
            get(move || {
                let text = prometheus::render(&shown.registry, wall_ms());
                async move { ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], text) }
            }),
        )
        .route(
            "/livez",
            get(move |uri: Uri| {
                let page = page(&uri, "live", &of_live.health.stalled());
                async move { page }
            }),
        )
        .route(
            "/readyz",
            get(move |uri: Uri| {
                let page = page(&uri, "ready", &of_ready.health.unready());
                async move { page }
            }),
        )
        .route(
            "/startupz",
            get(move |uri: Uri| {
                let page = startup(
                    &uri,
                    of_startup.health.phase(),
                    &of_startup.progress.states(),
                );
                async move { page }
            }),
        )
}

fn wants_json(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or("").split('&');
    pairs.any(|pair| pair == "format=json")
}

fn page(uri: &Uri, word: &str, reasons: &BTreeMap<String, String>) -> Response {
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    if wants_json(uri) {
        let listed: Vec<Value> = reasons
            .iter()
            .map(|(key, reason)| json!({ "key": key, "reason": reason }))
            .collect();
        return as_json(
            status,
            &json!({ word: reasons.is_empty(), "reasons": listed }),
        );
    }
    let mut text = match reasons.is_empty() {
        true => format!("{word}\n"),
        false => format!("not {word}\n"),
    };
    for (key, reason) in reasons {
        writeln!(text, "{key}: {reason}").expect("writing to a string does not fail");
    }
    (status, text).into_response()
}

fn startup(uri: &Uri, phase: Phase, works: &[WorkState]) -> Response {
    let status = match phase {
        Phase::Running | Phase::Stopping | Phase::Stopped => StatusCode::OK,
        Phase::Preflight | Phase::Preparing | Phase::Recovering | Phase::Starting => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    if wants_json(uri) {
        let works: Vec<Value> = works.iter().map(work_json).collect();
        return as_json(status, &json!({ "phase": phase.as_str(), "work": works }));
    }
    let mut text = format!("phase: {}\n", phase.as_str());
    for work in works {
        writeln!(text, "{work}").expect("writing to a string does not fail");
    }
    (status, text).into_response()
}

fn work_json(work: &WorkState) -> Value {
    json!({
        "name": work.name,
        "unit": match work.unit { Unit::Bytes => "bytes", Unit::Events => "events" },
        "total": work.total,
        "done": work.done,
        "percent": work.percent(),
        "per_second": work.rate(),
        "events_per_second": work.event_rate(),
        "seconds_left": work.seconds_left(),
    })
}

fn as_json(status: StatusCode, value: &Value) -> Response {
    let text = format!("{value}\n");
    (
        status,
        [(CONTENT_TYPE, "application/json;charset=utf-8")],
        text,
    )
        .into_response()
}
