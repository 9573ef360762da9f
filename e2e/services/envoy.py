"""The configuration of an Envoy that passes on what it gets: envoy.py ADDRESS TO tcp|http|h2."""

import json
import sys

address, to, way = sys.argv[1:4]


def socket(place):
    host, port = place.rsplit(":", 1)
    return {"socket_address": {"address": host, "port_value": int(port)}}


def typed(kind, **members):
    return {"@type": f"type.googleapis.com/envoy.{kind}", **members}


def http():
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    # Who says that somebody stands behind it is no local application: as a local proxy it says so of nobody.
    host = {"name": "all", "domains": ["*"], "request_headers_to_remove": ["x-forwarded-proto"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "next", "timeout": "0s"}}]}
    return typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="in",
                 codec_type="AUTO", http_filters=[router], route_config={"virtual_hosts": [host]})


def filters():
    if way == "tcp":
        return typed("extensions.filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="in", cluster="next")
    return http()


cluster = {
    "name": "next", "type": "STATIC", "connect_timeout": "5s",
    "load_assignment": {"cluster_name": "next", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(to)}}]}]},
}
if way == "h2":
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}),
    }
listener = {"name": "in", "address": socket(address), "filter_chains": [{"filters": [{"name": "in", "typed_config": filters()}]}]}
print(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
