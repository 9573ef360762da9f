"""The configuration of an Envoy that passes on what it gets: envoy.py ADDRESS TO tcp|http|h2|tls FOLDER.

tls ends TLS with the folder's q.pem and q.key, and speaks it anew with p.pem and p.key to who proves to be under q-root.pem.
"""

import json
import sys

address, to, way, folder = sys.argv[1:5]


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
                 codec_type="AUTO", stream_idle_timeout="0s", upgrade_configs=[{"upgrade_type": "websocket"}], http_filters=[router], route_config={"virtual_hosts": [host]})


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
chain = {"filters": [{"name": "in", "typed_config": filters()}]}


def shown(node, **more):
    pair = {"certificate_chain": {"filename": f"{folder}/{node}.pem"}, "private_key": {"filename": f"{folder}/{node}.key"}}
    return {"tls_certificates": [pair], **more}


if way == "tls":
    # What comes by HTTP/2 goes on by it, and a WebSocket by HTTP/1.1.
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
            "extensions.upstreams.http.v3.HttpProtocolOptions",
            use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}}),
    }
    trusted = {"trusted_ca": {"filename": f"{folder}/q-root.pem"}}
    cluster["transport_socket"] = {"name": "out", "typed_config": typed(
        "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        common_tls_context=shown("p", validation_context=trusted))}
    chain["transport_socket"] = {"name": "in", "typed_config": typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=shown("q", alpn_protocols=["h2", "http/1.1"]))}
listener = {"name": "in", "address": socket(address), "filter_chains": [chain]}
print(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
