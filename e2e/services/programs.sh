# The programs that the parts start, wait for and end; run.sh sources it. Each has a name, and keeps its port when it is
# started again.
declare -A pids ports

cleanup() {
  kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$home"
}
fail() {
  for log in "$home"/*.log; do echo "== $log" >&2 && tail -n 30 "$log" >&2; done
  echo "services: $*" >&2
  exit 1
}

# A port that nobody has at the moment; where somebody takes it in between, the program does not open it.
free_port() { python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
at() { # NAME: its address; sets its port the first time
  [ -n "${ports[$1]:-}" ] || ports[$1]=$(free_port)
  address=127.0.0.1:${ports[$1]}
}
is_open() { (exec 3<>"/dev/tcp/${1%:*}/${1#*:}") 2>/dev/null; }

launch() { # NAME COMMAND...: returns when its port is open
  local name=$1 address
  shift
  at "$name"
  "$@" >>"$home/$name.log" 2>&1 &
  pids[$name]=$!
  for _ in $(seq 600); do
    is_open "$address" && return
    kill -0 "${pids[$name]}" 2>/dev/null || break
    sleep 0.05
  done
  fail "$name does not open $address"
}
stop() { # NAME: ends it in good order
  kill "${pids[$1]}"
  wait "${pids[$1]}" 2>/dev/null || true
  unset "pids[$1]"
}

start_mesh() { # NAME [VARIABLE=VALUE...]
  local name=$1 address
  shift
  at "$name-admin" && local admin=$address
  at "$name"
  launch "$name" env "$@" MESH_HOME="$home/$name" PLUGIN_PROXY_TRANSPORT_Y="$address" MESH_ADMIN_LISTEN="$admin" "$mesh" start --server
}
on() { # NAME COMMAND...: of the command line, for that node
  local name=$1 address
  shift
  at "$name-admin" && local admin=$address
  at "$name"
  MESH_HOME="$home/$name" MESH_ADMIN_LISTEN="$admin" MESH_ADDRESS="$address" "$mesh" "$@"
}

start_nginx() { # NAME [ssl]
  local dir=$home/$1.d address
  at "$1"
  mkdir -p "$dir"
  cat >"$dir/conf" <<CONF
user root; daemon off; worker_processes 1; pid $dir/pid; error_log stderr;
events { worker_connections 512; }
http {
  access_log off; root $home/www; default_type text/plain; keepalive_requests 1000;
  client_body_temp_path $dir/a; proxy_temp_path $dir/b; fastcgi_temp_path $dir/c; uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;
  server { listen $address ${2:-}; ssl_certificate $home/tls.pem; ssl_certificate_key $home/tls.key; gzip on; gzip_min_length 1; }
}
CONF
  launch "$1" nginx -c "$dir/conf" -e stderr
}
start_nginx_to() { # NAME TO tcp|http|tls: passes on what comes
  local dir=$home/$1.d module=/usr/lib/nginx/modules/ngx_stream_module.so address load='' block
  at "$1"
  mkdir -p "$dir"
  if [ "$3" = tcp ]; then
    [ -e $module ] && load="load_module $module;"
    block="stream { server { listen $address; proxy_pass $2; proxy_timeout 10m; } }"
  elif [ "$3" = tls ]; then
    # Ends TLS as the node behind it, and speaks it anew as the node before it; gRPC by a way of its own.
    local shown="ssl_certificate $home/q-pair.pem; ssl_certificate_key $home/q-pair.pem;" shows
    shows() { # proxy|grpc
      echo "$1_ssl_certificate $home/p-pair.pem; $1_ssl_certificate_key $home/p-pair.pem; $1_ssl_trusted_certificate $home/q-root.pem;
        $1_ssl_verify on; $1_ssl_name $name_q; $1_read_timeout 150s;"
    }
    block="http { access_log off; client_max_body_size 0; client_body_temp_path $dir/a; proxy_temp_path $dir/b; fastcgi_temp_path $dir/c;
      uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;
      map \$http_upgrade \$upgrades { default upgrade; '' ''; }
      server { listen $address ssl http2; $shown $(shows proxy) $(shows grpc) proxy_http_version 1.1; proxy_request_buffering off;
        proxy_buffering off; proxy_set_header Host \$http_host; proxy_set_header Upgrade \$http_upgrade; proxy_set_header Connection \$upgrades;
        location / { if (\$content_type ~ ^application/grpc) { grpc_pass grpcs://$2; } proxy_pass https://$2; } } }"
  else
    block="http { access_log off; client_max_body_size 0; client_body_temp_path $dir/a; proxy_temp_path $dir/b; fastcgi_temp_path $dir/c;
      uwsgi_temp_path $dir/d; scgi_temp_path $dir/e;
      server { listen $address; location / { proxy_pass http://$2; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; } } }"
  fi
  echo "$load user root; daemon off; worker_processes 1; pid $dir/pid; error_log stderr; events { worker_connections 512; } $block" >"$dir/conf"
  launch "$1" nginx -c "$dir/conf" -e stderr
}
start_echo() { # NAME: a WebSocket service
  at "$1"
  launch "$1" "$python" "$here/ws.py" serve "${ports[$1]}"
}
start_grpc() { # NAME
  at "$1"
  launch "$1" "$python" "$here/server.py" "${ports[$1]}" "$1"
}
start_haproxy() { # NAME TO tcp|http|h2|tls
  local address mode=http proto= shown= shows=
  at "$1"
  # Ends TLS as the node behind it, and speaks it anew as the node before it.
  [ "$3" = tls ] && shown="ssl crt $home/q-pair.pem alpn h2,http/1.1" \
    && shows="ssl crt $home/p-pair.pem ca-file $home/q-root.pem verify required verifyhost $name_q alpn h2,http/1.1 ws h1"
  [ "$3" = tcp ] && mode=tcp
  [ "$3" = h2 ] && proto='proto h2'
  cat >"$home/$1.conf" <<CONF
global
  maxconn 1000
defaults
  mode $mode
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout tunnel 120s
listen it
  bind $address $proto $shown
  server next $2 $proto $shows
CONF
  launch "$1" haproxy -db -f "$home/$1.conf"
}
start_envoy() { # NAME TO tcp|http|h2|tls
  local address
  at "$1"
  "$python" "$here/envoy.py" "$address" "$2" "$3" "$home" >"$home/$1.json"
  launch "$1" "$envoy" -c "$home/$1.json" --use-dynamic-base-id --concurrency 1 --log-level warn
}
