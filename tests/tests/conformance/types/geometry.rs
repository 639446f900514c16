//! Geometries of every kind, with and without a reference system.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "geometry",
        columns: &[
            both("p POINT"),
            both("l LINESTRING"),
            both("y POLYGON"),
            both("mp MULTIPOINT"),
            both("ml MULTILINESTRING"),
            both("my MULTIPOLYGON"),
            both("gc GEOMETRYCOLLECTION"),
            both("g GEOMETRY"),
        ],
        rows: &[
            "ST_GeomFromText('POINT(1.5 -2.25)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 4)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(2 2,4 2,4 4,2 4,2 2))'), ST_GeomFromText('MULTIPOINT(0 0,1 1)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))'), ST_GeomFromText('POINT(0 0)')",
            "ST_GeomFromText('POINT(-1e300 1e-300)'), ST_GeomFromText('LINESTRING(0.1 0.2,0.3 0.4)'), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), ST_GeomFromText('MULTIPOINT(7 7)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1))'), ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'), ST_GeomFromText('GEOMETRYCOLLECTION()'), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')",
            "ST_GeomFromText('POINT(0 0)'), ST_GeomFromText('LINESTRING(0 0,0 0)'), ST_GeomFromText('POLYGON((0 0,-1 0,-1 -1,0 0))'), ST_GeomFromText('MULTIPOINT(-1 -1,2 2,3 3)'), ST_GeomFromText('MULTILINESTRING((5 5,6 6,7 7))'), ST_GeomFromText('MULTIPOLYGON(((0 0,2 0,2 2,0 0)))'), ST_GeomFromText('GEOMETRYCOLLECTION(GEOMETRYCOLLECTION(POINT(1 1)))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2))')",
        ],
        ..PLAIN
    },
    Case {
        table: "geometry_srid",
        columns: &[both("earth POINT SRID 4326"), both("flat LINESTRING SRID 3857"), both("some GEOMETRY")],
        rows: &[
            "ST_GeomFromText('POINT(52.5 13.4)', 4326), ST_GeomFromText('LINESTRING(0.1 0.2,0.3 0.4)', 3857), ST_GeomFromText('POINT(1 2)', 4326)",
            "ST_GeomFromText('POINT(-90 180)', 4326), ST_GeomFromText('LINESTRING(0 0,1 1)', 3857), ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))', 3857)",
            "ST_GeomFromText('POINT(0 0)', 4326), ST_GeomFromText('LINESTRING(0 0,1 1)', 3857), ST_GeomFromText('LINESTRING(0 0,1 1)')",
        ],
        generated: false,
        ..PLAIN
    },
];
