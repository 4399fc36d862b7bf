//! Flume's monitoring server: `/metrics` in Flume's JSON, as Flume 1.11 answers it.
//!
//! | request                         | answer                                |
//! |---------------------------------|---------------------------------------|
//! | TRACE, OPTIONS                  | 403                                   |
//! | GET or HEAD `/metrics`, any case | 200, `application/json;charset=utf-8` |
//! | GET or HEAD `/`                 | 200, an HTML hint                     |
//! | anything else                   | 404                                   |

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::metrics::{Registry, flume_json};

const HINT: &str =
    "<html><body>Flume metrics are at <a href=\"./metrics\">/metrics</a>.</body></html>\n";

/// The server's routes: one handler, because Flume's paths know no case.
pub(super) fn router(registry: Arc<Registry>) -> Router {
    Router::new().fallback(move |method: Method, uri: Uri| {
        let answer = answer(&registry, &method, uri.path());
        async move { answer }
    })
}

fn answer(registry: &Registry, method: &Method, path: &str) -> Response {
    if *method == Method::TRACE || *method == Method::OPTIONS {
        return StatusCode::FORBIDDEN.into_response();
    }
    let reads = *method == Method::GET || *method == Method::HEAD;
    if reads && path.eq_ignore_ascii_case("/metrics") {
        let json = flume_json::render(registry);
        return ([(CONTENT_TYPE, "application/json;charset=utf-8")], json).into_response();
    }
    if reads && path == "/" {
        return ([(CONTENT_TYPE, "text/html;charset=utf-8")], HINT).into_response();
    }
    StatusCode::NOT_FOUND.into_response()
}
