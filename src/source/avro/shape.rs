//! How the values of a client's own schema lie on the wire, references resolved: enough to find the
//! events in a request, and to pass everything else.
//!
//! Built once for a protocol, from its parsed schemas. Always true: at most [`DEPTH_MAX`] deep and
//! `NODES_MAX` large for all schemas of a protocol together, so whatever walks a shape may recurse.

use std::collections::BTreeMap;

use apache_avro::schema::{InnerDecimalSchema, Schema, UuidSchema};

/// Deeper schemas than this, recursive ones above all, are refused: decoding them recurses.
pub(super) const DEPTH_MAX: usize = 32;
/// Parts of all schemas of one protocol.
pub(super) const NODES_MAX: usize = 4096;

/// A part of a schema.
#[derive(Debug)]
pub(super) enum Shape {
    /// So many bytes.
    Fixed(usize),
    /// A zig-zag long, or anything that is written as one.
    Long,
    /// Length and bytes, or text: the two are the same on the wire.
    Bytes,
    /// Blocks of values.
    Array(Box<Shape>),
    /// Blocks of text and value.
    Map(Box<Shape>),
    /// The number of a branch, and its value.
    Union(Vec<Shape>),
    /// Fields one after another, by name.
    Record(Vec<(String, Shape)>),
}

/// The shapes of `schemas`, which may refer to each other. None: they are recursive, too deep, or
/// refer to a type that is defined inside another one, which could be recursive too.
pub(super) fn shapes(schemas: &[Schema]) -> Option<Vec<Shape>> {
    let names: BTreeMap<String, &Schema> = schemas
        .iter()
        .filter_map(|schema| Some((schema.name()?.fullname(None), schema)))
        .collect();
    let mut builder = Builder {
        names,
        nodes_left: NODES_MAX,
    };
    let shapes = schemas.iter().map(|schema| builder.shape(schema, 0));
    shapes.collect()
}

struct Builder<'a> {
    names: BTreeMap<String, &'a Schema>,
    nodes_left: usize,
}

impl Builder<'_> {
    fn shape(&mut self, schema: &Schema, depth: usize) -> Option<Shape> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.nodes_left = self.nodes_left.checked_sub(1)?;
        Some(match schema {
            Schema::Null => Shape::Fixed(0),
            Schema::Boolean => Shape::Fixed(1),
            Schema::Float => Shape::Fixed(4),
            Schema::Double => Shape::Fixed(8),
            Schema::Fixed(fixed) | Schema::Duration(fixed) => Shape::Fixed(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Shape::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Shape::Fixed(fixed.size),
            },
            Schema::Uuid(UuidSchema::Fixed(fixed)) => Shape::Fixed(fixed.size),
            Schema::Uuid(UuidSchema::String | UuidSchema::Bytes)
            | Schema::Bytes
            | Schema::String
            | Schema::BigDecimal => Shape::Bytes,
            Schema::Int
            | Schema::Long
            | Schema::Enum(_)
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Shape::Long,
            Schema::Array(array) => Shape::Array(Box::new(self.shape(&array.items, depth + 1)?)),
            Schema::Map(map) => Shape::Map(Box::new(self.shape(&map.types, depth + 1)?)),
            Schema::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|schema| self.shape(schema, depth + 1));
                Shape::Union(branches.collect::<Option<_>>()?)
            }
            Schema::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields
                    .map(|field| Some((field.name.clone(), self.shape(&field.schema, depth + 1)?)));
                Shape::Record(fields.collect::<Option<_>>()?)
            }
            Schema::Ref { name } => {
                let schema = *self.names.get(&name.fullname(None))?;
                self.shape(schema, depth + 1)?
            }
        })
    }
}
