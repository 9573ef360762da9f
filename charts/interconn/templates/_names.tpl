{{/* What things are called, and the labels that they carry. */}}

{{- define "interconn.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "interconn.operator" -}}
{{ include "interconn.fullname" . }}-operator
{{- end -}}

{{- define "interconn.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "interconn.operator" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: needed while serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "interconn.webhook" -}}
{{ include "interconn.fullname" . }}-webhook
{{- end -}}

{{- define "interconn.intake" -}}
{{ include "interconn.fullname" . }}-intake
{{- end -}}

{{/* Webhook and intake show one certificate. */}}
{{- define "interconn.webhookSecret" -}}
{{ include "interconn.fullname" . }}-webhook-certificate
{{- end -}}

{{/* Of objects that are the cluster's: two releases in two namespaces must not meet. Webhooks are called in the order of names, and
     ours has to tell other meshes' (istio-..., linkerd-...) what to leave alone: whatever the release is called, it is early. */}}
{{- define "interconn.clusterName" -}}
{{- $own := printf "%s-%s" (include "interconn.operator" .) .Release.Namespace -}}
{{- if hasPrefix "interconn" $own -}}{{ $own }}{{- else -}}{{ printf "interconn-%s" $own }}{{- end -}}
{{- end -}}

{{- define "interconn.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "interconn.labels" -}}
{{ include "interconn.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image by registry, repository and digest or tag: (list $ .Values.image). */}}
{{- define "interconn.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $registry := default $root.Values.global.imageRegistry $image.registry -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end -}}
{{- end -}}

{{- define "interconn.pullSecrets" -}}
{{- $names := concat (default (list) .Values.imagePullSecrets) (default (list) .Values.global.imagePullSecrets) | uniq -}}
{{- with $names }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "yes" where a part with Auto, Always or Never is to be made: (list $ mode api). */}}
{{- define "interconn.wanted" -}}
{{- $root := index . 0 -}}
{{- $mode := index . 1 -}}
{{- $api := index . 2 -}}
{{- if or (eq $mode "Always") (and (eq $mode "Auto") ($root.Capabilities.APIVersions.Has $api)) -}}yes{{- end -}}
{{- end -}}

{{- define "interconn.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}
