"""Reads what the operator serves and sends as the makers of the formats do, strictly, and prints it as JSON.

    read.py openmetrics < scrape        families, each with its samples; a duplicate or a misnamed series is an error
    read.py traces < request.json       spans of an ExportTraceServiceRequest; a field that it does not have is an error
"""

import json
import sys


def openmetrics(text):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families, seen = [], set()
    for family in text_string_to_metric_families(text):
        samples = []
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in seen:
                raise ValueError(f"a second series of {key}")
            seen.add(key)
            samples.append({"name": sample.name, "labels": sample.labels, "value": float(sample.value)})
        families.append({"name": family.name, "type": family.type, "help": family.documentation, "samples": samples})
    # The parser keeps one of two equal series and says nothing.
    lines = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    if lines != len(seen):
        raise ValueError(f"{lines} lines of samples, {len(seen)} series")
    return families


def traces(text):
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    # The JSON encoding of OTLP has ids as hexadecimal digits, where that of protobuf has base64.
    def ids(value):
        if isinstance(value, dict):
            return {key: base64_of(item) if key in IDS else ids(item) for key, item in value.items()}
        return [ids(item) for item in value] if isinstance(value, list) else value

    request = Parse(json.dumps(ids(json.loads(text))), ExportTraceServiceRequest())
    spans = []
    for of_resource in request.resource_spans:
        resource = attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                if len(span.trace_id) != 16 or len(span.span_id) != 8 or len(span.parent_span_id) not in (0, 8):
                    raise ValueError("an id of the wrong length")
                if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
                    raise ValueError("a span that ends before it begins")
                spans.append({
                    "resource": resource,
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "id": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "attributes": attributes(span.attributes),
                    "failed": span.status.code == 2,
                })
    return spans


IDS = ("traceId", "spanId", "parentSpanId")


def base64_of(digits):
    import base64

    return base64.b64encode(bytes.fromhex(digits)).decode()


def attributes(items):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in items}


if __name__ == "__main__":
    read = {"openmetrics": openmetrics, "traces": traces}[sys.argv[1]]
    json.dump(read(sys.stdin.read()), sys.stdout)
