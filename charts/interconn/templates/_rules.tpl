{{/* What the operator may do. docs/install.md has it as a table, and a test asks the API server for each line of it. */}}

{{/* In the namespaces that it looks after. */}}
{{- define "interconn.rules.watched" -}}
- {apiGroups: [interconn.dev], resources: [meshnodes, meshroutes, serviceregistrations], verbs: [get, list, watch]}
# The finalizer of `rootDeletionPolicy: Delete`.
- {apiGroups: [interconn.dev], resources: [meshnodes], verbs: [patch]}
{{- if .Values.intake.enabled }}
# What applications ask for at run time, where their service accounts may do the same (docs/operator.md, "The intake").
- {apiGroups: [interconn.dev], resources: [meshroutes], verbs: [create, patch, delete]}
{{- end }}
- {apiGroups: [interconn.dev], resources: [meshnodes/status, meshroutes/status, serviceregistrations/status], verbs: [patch]}
# Where the API server guards owner references that block deletion.
- {apiGroups: [interconn.dev], resources: [meshnodes/finalizers], verbs: [update]}
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, create, patch]}
- {apiGroups: [""], resources: [configmaps, services], verbs: [get, list, watch, create, patch]}
- {apiGroups: [""], resources: [configmaps], verbs: [delete]}
# The gateway, and a service account for it that may do nothing.
- {apiGroups: [apps], resources: [statefulsets], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [""], resources: [serviceaccounts], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get, list, watch, create, patch, delete]}
- {apiGroups: [policy], resources: [poddisruptionbudgets], verbs: [get, list, watch, create, patch, delete]}
# `spec.certificates.issuerRef` and `spec.expose.tlsRoute`, where the cluster has those APIs.
- {apiGroups: [cert-manager.io], resources: [certificaterequests], verbs: [get, list, create, patch, delete]}
- {apiGroups: [gateway.networking.k8s.io], resources: [tlsroutes], verbs: [get, list, watch, create, patch, delete]}
# Why a gateway does not start.
- {apiGroups: [""], resources: [persistentvolumeclaims], verbs: [list]}
# The nudge, and what a pod reports: annotations on the pods that mount a node's configuration.
- {apiGroups: [""], resources: [pods], verbs: [get, list, watch, patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
{{- end -}}

{{/* In its own namespace. */}}
{{- define "interconn.rules.own" -}}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}
# The issued roots.
- {apiGroups: [""], resources: [secrets], verbs: [get, create, patch, delete]}
{{- if or .Values.webhook.enabled .Values.intake.enabled }}
- {apiGroups: [""], resources: [secrets], verbs: [list, watch], resourceNames: [{{ include "interconn.webhookSecret" . }}]}
{{- end }}
{{- if .Values.intake.enabled }}
# Where pods find the intake.
- {apiGroups: [""], resources: [services], verbs: [get], resourceNames: [{{ include "interconn.intake" . }}]}
{{- end }}
{{- if .Values.webhook.enabled }}
# `mesh-operator check` asks where its webhook is.
- {apiGroups: [""], resources: [services], verbs: [get], resourceNames: [{{ include "interconn.webhook" . }}]}
{{- end }}
{{- end -}}

{{/* Of the cluster as a whole: no object of anybody's namespace is among them. */}}
{{- define "interconn.rules.cluster" -}}
{{- if .Values.webhook.enabled }}
# The CA bundle of its own webhook, which the chart leaves out.
- {apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [get, list, watch, patch], resourceNames: [{{ include "interconn.clusterName" . }}]}
{{- end }}
{{- if .Values.intake.enabled }}
# Whose token it is, and whether that account may do what it asks for. Neither tells or changes anything of anybody's.
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
{{- end }}
{{- end -}}
