{{/* Folders of a node that setup edits and cleanup restores, and the folder of their journal. */}}
{{- define "accel.nodePaths" -}}
setup: /var/lib/accel/setup
{{- with .Values.agent.runtimes }}
{{- if .containerd }}
containerd: /etc/containerd
{{- end }}
{{- if .containers }}
containers: /etc/containers
{{- end }}
{{- if .docker }}
docker: /etc/docker
{{- end }}
{{- if .overlaybd }}
overlaybd: /etc/overlaybd
opt-overlaybd: /opt/overlaybd
{{- end }}
{{- end }}
{{- end -}}

{{- define "accel.nodeMounts" -}}
{{- range $name, $path := include "accel.nodePaths" . | fromYaml }}
- { name: {{ $name }}, mountPath: /host{{ $path }} }
{{- end }}
{{- end -}}

{{/* A release whose values are of an older chart (helm upgrade --reuse-values) does not have it. */}}
{{- define "accel.snapshotterFolder" -}}
{{ .Values.agent.snapshotterFolder | default "/run/overlaybd-snapshotter" }}
{{- end -}}

{{/* What the running agent sees of its node to look at it: the same folders and the snapshotter's socket, read-only. */}}
{{- define "accel.nodeCheckMounts" -}}
{{- if include "accel.labelsNodes" . }}
{{- range $name, $path := include "accel.nodePaths" . | fromYaml }}
- { name: {{ $name }}, mountPath: /host{{ $path }}, readOnly: true }
{{- end }}
- { name: snapshotter, mountPath: /host{{ include "accel.snapshotterFolder" . }}, readOnly: true }
{{- end }}
{{- end -}}

{{- define "accel.nodeVolumes" -}}
{{- range $name, $path := include "accel.nodePaths" . | fromYaml }}
- name: {{ $name }}
  hostPath: { path: {{ $path }}{{ if eq $name "setup" }}, type: DirectoryOrCreate{{ end }} }
{{- end }}
{{- end -}}

{{/* What the running agent sees of kubelet's credential provider plugins. */}}
{{- define "accel.providerMounts" -}}
{{- with .Values.agent.credentialProvider }}
{{- if and .config .binaries }}
- { name: kubelet-plugins, mountPath: /run/accel/kubelet/plugins, readOnly: true }
{{- if ne (dir .config) .binaries }}
- { name: kubelet-config, mountPath: /run/accel/kubelet/config, readOnly: true }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "accel.providerVolumes" -}}
{{- with .Values.agent.credentialProvider }}
{{- if and .config .binaries }}
- name: kubelet-plugins
  hostPath: { path: {{ .binaries }}, type: Directory }
{{- if ne (dir .config) .binaries }}
- name: kubelet-config
  hostPath: { path: {{ dir .config }}, type: Directory }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Folder of containerd's blobs on a node. */}}
{{- define "accel.contentStore" -}}
{{- $agent := .Values.config.agent | default dict -}}
{{- $agent.contentStore | default "/var/lib/containerd/io.containerd.content.v1.content/blobs" -}}
{{- end -}}

{{/* Secret with the authority of the agents. */}}
{{- define "accel.authoritySecret" -}}
{{- if eq .Values.agent.certificates.mode "secret" -}}
{{- required "agent.certificates.secret names the Secret with ca.pem and ca-key.pem" .Values.agent.certificates.secret -}}
{{- else -}}
{{ include "accel.fullname" . }}-agents-{{ ternary "own" "authority" (eq (include "accel.controllerSigns" .) "true") }}
{{- end -}}
{{- end -}}
