{{/* What every container has that is no agent's. */}}
{{- define "accel.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* The beginning of the specification of a pod that is no agent's. Takes a dict of `root` and `role`. */}}
{{- define "accel.podSpec" -}}
serviceAccountName: {{ include "accel.fullname" .root }}-{{ .role }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.pods.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.pods.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pods.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
# Longer than `drain`, 30 s unless configured otherwise.
terminationGracePeriodSeconds: 40
{{- end -}}

{{/* Pods of a role on different nodes and zones, as far as there are. */}}
{{- define "accel.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "accel.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* Labels and annotations of a role's pods; a change of the configuration makes new ones. */}}
{{- define "accel.podMeta" -}}
labels:
  {{- with .root.Values.pods.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "accel.labels" . | nindent 2 }}
annotations:
  {{- with .root.Values.pods.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  accel.dev/config: {{ include "accel.roleConfig" . | sha256sum | trunc 16 }}
{{- end -}}

{{/* Probes of a role: /healthz and /readyz of its metrics. */}}
{{- define "accel.probes" -}}
ports:
  - name: metrics
    containerPort: {{ int .root.Values.p2p.v2.exporter.port }}
  {{- with .port }}
  - name: {{ .name }}
    containerPort: {{ .number }}
  {{- end }}
startupProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /healthz, port: metrics }
  periodSeconds: 10
  failureThreshold: 6
  timeoutSeconds: 5
readinessProbe:
  httpGet: { path: /readyz, port: metrics }
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{/* Environment and mounts that all roles but the agents share. */}}
{{- define "accel.commonMounts" -}}
- name: config
  mountPath: /etc/accel/accel.yaml
  subPath: accel.yaml
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .Values.registryCredentials }}
- name: registry-credentials
  mountPath: /etc/accel/docker
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "accel.commonEnv" -}}
{{- if .Values.registryCredentials }}
env:
  - name: DOCKER_CONFIG
    value: /etc/accel/docker
{{- end }}
{{- end -}}

{{/* Volumes that all roles but the agents share. Takes a dict of `root` and `role`. */}}
{{- define "accel.commonVolumes" -}}
- name: config
  configMap:
    name: {{ include "accel.fullname" .root }}-{{ .role }}
- name: tmp
  emptyDir: {}
{{- if .root.Values.registryCredentials }}
- name: registry-credentials
  secret:
    secretName: {{ .root.Values.registryCredentials }}
    items:
      - { key: .dockerconfigjson, path: config.json }
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations of a hook before uninstalling; takes its weight. All go when the last one has succeeded. */}}
{{- define "accel.hook" -}}
{ helm.sh/hook: pre-delete, helm.sh/hook-weight: {{ . | quote }}, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded" }
{{- end -}}
