{{- define "image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* labels and selector: a list of the root and the component. */ -}}
{{- define "selector" -}}
app.kubernetes.io/name: gateway-plugin
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
{{- end }}

{{- /* Settings as environment: a change of one rolls the pods. */ -}}
{{- define "settings" -}}
{{- range $name, $value := . }}
- name: GATEWAY_{{ upper $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}

{{- define "redis.env" -}}
{{- $host := printf "%s-redis" .Release.Name }}
{{- if not .Values.redis.enabled }}
{{- $host = required "redis.external.host is needed when redis.enabled is false" .Values.redis.external.host }}
{{- end }}
- name: GATEWAY_REDIS_HOST
  value: {{ $host | quote }}
- name: GATEWAY_REDIS_PORT
  value: {{ ternary 6379 .Values.redis.external.port .Values.redis.enabled | toString | quote }}
- name: GATEWAY_REDIS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: redis-password}}
{{- end }}

{{- define "container.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "pod.security" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Envoy's default of 1024 would cap generations in flight: each holds a request here and a stream to the plugin. */ -}}
{{- define "no-ceilings" -}}
circuitBreaker:
  maxConnections: 1000000
  maxPendingRequests: 1000000
  maxParallelRequests: 1000000
  maxParallelRetries: 1000000
{{- end }}

{{- /* The longest body; the plugin's own limit must hold it, and what comes beside it. */ -}}
{{- define "body-limit" -}}
{{- $limit := .Values.gateway.bufferLimit }}
{{- $needed := mul (add1 (trimSuffix "Mi" $limit | int64)) 1048576 }}
{{- $taken := .Values.plugin.settings.grpc_max_message_bytes | default 68157440 | int64 }}
{{- if lt $taken $needed }}
{{- fail (printf "gateway.bufferLimit %s: plugin.settings.grpc_max_message_bytes must be at least %d, not %d" $limit $needed $taken) }}
{{- end }}
{{- $limit }}
{{- end }}

{{- /* In a form for all clients: Anthropic's look for the type "error" at the top, Cohere's for the message. */ -}}
{{- define "error" -}}
{"type":"error","message":{{ .message | toJson }},"error":{"message":{{ .message | toJson }},"type":{{ .type | toJson }},"param":null,"code":{{ .code | toJson }}}}
{{- end }}

{{- /* A role of a ServiceAccount: for the cluster, or for each of some namespaces. */ -}}
{{- define "rbac" }}
{{- $root := .root }}
{{- $account := .account | default .name }}
{{- $subject := printf "{kind: ServiceAccount, name: %s, namespace: %s}" $account $root.Release.Namespace }}
{{- if not .namespaces }}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels:
    {{- include "labels" (list $root .component) | nindent 4 }}
rules:
  {{- .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "labels" (list $root .component) | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ .name }}}
subjects:
  - {{ $subject }}
{{- end }}
{{- range $index, $namespace := .namespaces }}
{{- if $index }}
---
{{- end }}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $.name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $root $.component) | nindent 4 }}
rules:
  {{- $.rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $.name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "labels" (list $root $.component) | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ $.name }}}
subjects:
  - {{ $subject }}
{{- end }}
{{- end }}
