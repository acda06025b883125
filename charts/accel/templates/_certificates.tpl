{{/* Path of the webhook on its server. */}}
{{- define "accel.webhookPath" -}}
/mutate
{{- end -}}

{{/* Secret that the webhook fills itself. Its type is not that of the others, so it has a name of its own. */}}
{{- define "accel.ownSecret" -}}
{{ include "accel.fullname" . }}-webhook-own
{{- end -}}

{{/* Secret with the webhook's certificate. */}}
{{- define "accel.webhookSecret" -}}
{{- if eq .Values.certificates.mode "files" -}}
{{- required "certificates.secret names the Secret with tls.crt and tls.key" .Values.certificates.secret -}}
{{- else -}}
{{ include "accel.fullname" . }}-webhook
{{- end -}}
{{- end -}}

{{/* `ca`, `cert` and `key` in base64, as far as the chart knows them. One that exists is kept. */}}
{{- define "accel.webhookCertificate" -}}
{{- if eq .Values.certificates.mode "files" }}
ca: {{ required "certificates.caBundle is the authority of the webhook's certificate" .Values.certificates.caBundle | b64enc }}
{{- else if eq .Values.certificates.mode "helm" }}
{{- $old := lookup "v1" "Secret" (include "accel.namespace" .) (include "accel.webhookSecret" .) }}
{{- if and $old $old.data }}
ca: {{ index $old.data "ca.crt" }}
cert: {{ index $old.data "tls.crt" }}
key: {{ index $old.data "tls.key" }}
{{- else }}
{{- $authority := genCAWithKey "accel webhook" 3650 (genPrivateKey "ecdsa") }}
{{- $host := printf "%s-admission.%s.svc" (include "accel.fullname" .) (include "accel.namespace" .) }}
{{- $leaf := genSignedCertWithKey $host nil (list $host) 3650 $authority (genPrivateKey "ecdsa") }}
ca: {{ $authority.Cert | b64enc }}
cert: {{ $leaf.Cert | b64enc }}
key: {{ $leaf.Key | b64enc }}
{{- end }}
{{- end }}
{{- end -}}
