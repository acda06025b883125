{{/* Beginning of all names. */}}
{{- define "accel.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "accel" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-accel" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Namespace of all objects. */}}
{{- define "accel.namespace" -}}
{{- .Values.namespace.name | default .Release.Namespace -}}
{{- end -}}

{{/* Labels by which the pods of a role are selected; they never change. Takes a dict of `root` and `role`. */}}
{{- define "accel.selector" -}}
app.kubernetes.io/name: accel
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{/* Labels of an object. Takes a dict of `root` and `role`. */}}
{{- define "accel.labels" -}}
{{ include "accel.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* Metadata of an object in the namespace. Takes a dict of `root`, `role` and `suffix`. */}}
{{- define "accel.meta" -}}
name: {{ include "accel.fullname" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ include "accel.namespace" .root }}
labels:
  {{- include "accel.labels" . | nindent 2 }}
{{- end -}}

{{/* Name of an object of the cluster: it has the namespace, so that two releases do not meet. */}}
{{- define "accel.clusterName" -}}
{{ include "accel.fullname" . }}-{{ include "accel.namespace" . }}
{{- end -}}

{{/* The image of all roles but the agents. */}}
{{- define "accel.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The image of the agents: the parameters of the P2P component win. */}}
{{- define "accel.agentImage" -}}
{{- $v2 := .Values.p2p.v2 -}}
{{- if or $v2.image $v2.imageTag -}}
{{ $v2.image | default .Values.image.repository }}:{{ $v2.imageTag | default .Values.image.tag | default .Chart.AppVersion }}
{{- else -}}
{{ include "accel.image" . }}
{{- end -}}
{{- end -}}

{{/* Whether a value that may be true, "true" or false is on: "true" or nothing. */}}
{{- define "accel.on" -}}
{{- if eq (toString .) "true" -}}true{{- end -}}
{{- end -}}
