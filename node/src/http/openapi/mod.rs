//! What `/openapi.json` says: every path with its parameters, bodies and answers. The descriptions stand in tables, a
//! file per unit, beside the handlers rather than on them: most handlers serve paths that clients know from elsewhere.

mod cu;
mod gateway;
mod hyperbeam;
mod mu;
mod node;
mod su;

use serde_json::{Value, json};
use utoipa::openapi::path::{HttpMethod, Operation, Parameter, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::{Content, Info, OpenApi, Ref, RefOr, Required, Response, Responses, Schema};

const ITEM: &str = "application/octet-stream";
const JSON: &str = "application/json";
const ANS104: &str = "application/ans104";
const AOS_2: &str = "application/aos-2";
const TEXT: &str = "text/plain";

/// One operation of a path.
struct Described {
    method: HttpMethod,
    path: &'static str,
    summary: &'static str,
    /// Names and meanings of what may stand in the query. Parameters in the path are found in it.
    query: &'static [(&'static str, &'static str)],
    /// Content type and meaning of the body, if one is taken.
    body: Option<(&'static str, &'static str)>,
    /// Status, content type and meaning of answers; every path may also answer with an error.
    answers: &'static [(u16, &'static str, &'static str)],
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Paths::new();
    let tables = [("mu", mu::PATHS), ("su", su::PATHS), ("cu", cu::PATHS), ("node", node::PATHS)];
    for (tag, table) in tables.into_iter().chain([("gateway", gateway::PATHS), ("hyperbeam", hyperbeam::PATHS)]) {
        for described in table {
            paths.add_path_operation(described.path, vec![described.method.clone()], described.operation(tag));
        }
    }
    let mut info = Info::new("ao-node", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "A node of ao. A node with exactly one of the roles mu, su, cu serves the paths of that role at the root too."
            .into(),
    );
    let mut document = serde_json::to_value(OpenApi::new(info, paths)).unwrap_or_default();
    document["components"] = json!({ "schemas": { "Error": {
        "type": "object",
        "required": ["error"],
        "properties": { "error": { "type": "string", "description": "what was wrong and what to do" } },
    } } });
    document
}

impl Described {
    fn operation(&self, tag: &str) -> Operation {
        let mut operation = Operation::new();
        operation.tags = Some(vec![tag.to_string()]);
        operation.summary = Some(self.summary.to_string());
        let in_path = self.path.split(['{', '}']).skip(1).step_by(2);
        let in_path = in_path.map(|name| parameter(name, ParameterIn::Path, None));
        let in_query = self.query.iter().map(|(name, text)| parameter(name, ParameterIn::Query, Some(text)));
        let parameters: Vec<RefOr<Parameter>> = in_path.chain(in_query).map(RefOr::T).collect();
        operation.parameters = (!parameters.is_empty()).then_some(parameters);
        if let Some((kind, text)) = self.body {
            let mut body = RequestBody::new();
            body.description = Some(text.to_string());
            body.required = Some(Required::True);
            body.content.insert(kind.to_string(), content(kind).into());
            operation.request_body = Some(RefOr::T(body));
        }
        let mut responses = Responses::new();
        for (status, kind, text) in self.answers {
            let mut response = Response::new(*text);
            response.content.insert((*kind).to_string(), content(kind).into());
            responses.responses.insert(status.to_string(), RefOr::T(response));
        }
        let mut error = Response::new("what was wrong; 429 and 503 say in Retry-After when to come again");
        let schema = RefOr::<Schema>::Ref(Ref::from_schema_name("Error"));
        error.content.insert(JSON.into(), Content::new(Some(schema)).into());
        responses.responses.insert("default".into(), RefOr::T(error));
        operation.responses = responses;
        operation
    }
}

fn parameter(name: &str, place: ParameterIn, text: Option<&str>) -> Parameter {
    let mut parameter = Parameter::new(name);
    parameter.required = if place == ParameterIn::Path { Required::True } else { Required::False };
    parameter.parameter_in = place;
    parameter.description = text.map(str::to_string);
    parameter.schema = Some(Object::with_type(SchemaType::new(Type::String)).into());
    parameter
}

fn content(kind: &str) -> Content {
    let schema = match kind {
        JSON => Object::with_type(SchemaType::AnyValue),
        _ => Object::with_type(SchemaType::new(Type::String)),
    };
    Content::new(Some(RefOr::T(Schema::Object(schema))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes of a source file, as they are written there.
    fn routes<'a>(prefix: &'a str, source: &'a str) -> impl Iterator<Item = String> + 'a {
        let own = source.split("\n#[cfg(test)]").next().unwrap_or_default();
        let path = |rest: &str| rest.split('"').nth(1).map(str::to_string);
        own.split(".route(").skip(1).filter_map(path).map(move |path| match (prefix, path.as_str()) {
            ("", path) => path.to_string(),
            (prefix, "/") => prefix.to_string(),
            (prefix, path) => format!("{prefix}{path}"),
        })
    }

    #[test]
    fn every_route_is_described() {
        let document = document();
        let sources = [
            ("/mu", include_str!("../mu.rs")),
            ("/su", include_str!("../su.rs")),
            ("/cu", include_str!("../cu.rs")),
            ("/ao", include_str!("../ao.rs")),
            ("", include_str!("../own_words.rs")),
            ("", include_str!("../gateway/mod.rs")),
            ("", include_str!("../gateway/chain.rs")),
            ("", include_str!("../gateway/data.rs")),
            ("", include_str!("../gateway/graphql.rs")),
        ];
        let routes: Vec<String> = sources.iter().flat_map(|(prefix, source)| routes(prefix, source)).collect();
        assert!(routes.len() > 10, "{routes:?}");
        let described = document["paths"].as_object().unwrap();
        let missing: Vec<&String> = routes.iter().filter(|route| !described.contains_key(*route)).collect();
        assert!(missing.is_empty(), "routes that no table of this folder describes: {missing:?}");
    }

    #[test]
    fn parameters_bodies_and_errors_are_there() {
        let document = document();
        let result = &document["paths"]["/cu/result/{id}"]["get"];
        assert_eq!(result["parameters"][0]["name"], "id");
        assert_eq!(result["parameters"][0]["required"], true);
        assert_eq!(result["parameters"][1]["name"], "process-id");
        assert!(result["responses"]["default"]["content"][JSON]["schema"]["$ref"].is_string(), "{result}");
        assert!(document["paths"]["/mu"]["post"]["requestBody"]["content"][ITEM].is_object());
        assert_eq!(document["openapi"].as_str().map(|version| &version[..2]), Some("3."));
    }
}
