{{/*
The configuration of the roles as YAML: what the parameters say, and `config` over it. Lists of `config` take the place of
theirs, but for registries, which are joined.
*/}}
{{- define "accel.config" -}}
{{- $p2p := .Values.p2p -}}
{{- $v2 := $p2p.v2 -}}
{{- $ports := list (int $p2p.port) (int $v2.p2pPort) (int $v2.exporter.port) -}}
{{- if ne (len (uniq $ports)) 3 }}{{ fail (printf "p2p.port %d, p2p.v2.p2pPort %d and p2p.v2.exporter.port %d are ports of the same node: each needs a number of its own" (index $ports 0) (index $ports 1) (index $ports 2)) }}{{ end -}}
{{- $named := (include "accel.registries" . | fromYaml).hosts | default list -}}
{{- $agents := dict -}}
{{- if .Values.agent.enabled -}}
{{- $agents = dict "service" (printf "%s-agents" (include "accel.fullname" .)) "namespace" (include "accel.namespace" .) -}}
{{- end -}}
{{- with (include "accel.agentNodes" . | fromYaml) }}{{ $_ := set $agents "nodeSelector" . }}{{ end -}}
{{- $controller := dict "lease" (printf "%s-controller" (include "accel.fullname" .)) "deviceSecret" (include "accel.deviceSecret" .) "labelNodes" (eq (include "accel.labelsNodes" .) "true") -}}
{{- if include "accel.controllerSigns" . -}}
{{- $_ := set $controller "agentCertificates" (dict
      "signer" (include "accel.signer" .)
      "account" (printf "%s-agent" (include "accel.fullname" .))
      "secret" (include "accel.authoritySecret" .)
      "renewAuthority" (ne .Values.agent.certificates.mode "secret")) -}}
{{- end -}}
{{- $cluster := dict
      "namespace" (include "accel.namespace" .)
      "secrets" (dict "namespaces" .Values.secrets.namespaces "clusterWide" .Values.secrets.clusterWide)
      "controller" $controller
      "p2p" (dict "port" (int $p2p.port) "agents" $agents) -}}
{{- $agent := dict
      "listen" (printf "127.0.0.1:%d" (int $p2p.port))
      "peerListen" (printf "0.0.0.0:%d" (int $v2.p2pPort))
      "cache" (dict "path" "/var/lib/accel/cache" "capacity" $v2.cache.capacity "ttl" $p2p.plusMode.cacheTTL)
      "proxyConcurrencyLimit" (int $v2.proxyConcurrencyLimit)
      "throttleLimitMB" $v2.throttleLimitMB
      "ratelimit" $p2p.ratelimit -}}
{{- if .Values.controller.enabled -}}
{{- $credentials := dict "from" "/run/accel/devices/.dockerconfigjson" "serve" true -}}
{{- if .Values.agent.runtimes.overlaybd }}{{ $_ := set $credentials "file" "/opt/overlaybd/cred.json" }}{{ end -}}
{{- $_ := set $agent "credentials" $credentials -}}
{{- end -}}
{{- with .Values.agent.credentialProvider -}}
{{- if and .config .binaries -}}
{{- $kubelet := dict "config" (printf "%s/%s" (include "accel.providerFolder" .) (base .config)) "binaries" "/run/accel/kubelet/plugins" -}}
{{- $_ := set $agent "credentials" (mustMergeOverwrite (dict "serve" true "kubelet" $kubelet) ($agent.credentials | default dict)) -}}
{{- end -}}
{{- end -}}
{{- if include "accel.labelsNodes" . }}{{ $_ := set $agent "nodeCheck" (dict "root" "/host") }}{{ end -}}
{{- if eq $p2p.plusMode.downloadPattern "source" }}{{ $_ := set $agent "engine" "none" }}{{ end -}}
{{- $registries := concat $named (.Values.config.registries | default list) -}}
{{- $base := dict "agent" $agent "cluster" $cluster -}}
{{- $all := mustMergeOverwrite $base (deepCopy .Values.config) -}}
{{- if $registries }}{{ $_ := set $all "registries" $registries }}{{ end -}}
{{- toYaml $all -}}
{{- end -}}

{{/*
`hosts`: registries of `acrInstances`. `without`: its entries that have no effect. A host has a dot or a port; a name is an
instance, whose hosts are NAME-registry[-vpc].REGION.cr.aliyuncs.com.
*/}}
{{- define "accel.registries" -}}
{{- $hosts := list -}}
{{- $without := list -}}
{{- $given := .Values.acrInstances -}}
{{- if kindIs "string" $given }}{{ $given = splitList "," $given }}{{ end -}}
{{- $vpc := ternary "" "-vpc" (eq (include "accel.on" .Values.pullImageInternet) "true") -}}
{{- range $entry := $given -}}
{{- $name := trim $entry -}}
{{- if not $name -}}
{{- else if not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$" $name) -}}
{{- fail (printf "acrInstances: %q is no registry; expected HOST[:PORT], without a scheme and without a path, or the name of an instance" $name) -}}
{{- else if or (contains "." $name) (contains ":" $name) -}}
{{- $hosts = append $hosts (dict "host" $name) -}}
{{- else if or (hasPrefix "cri-" $name) (not $.Values.region) -}}
{{- $without = append $without $name -}}
{{- else -}}
{{- $hosts = append $hosts (dict "host" (printf "%s-registry%s.%s.cr.aliyuncs.com" $name $vpc $.Values.region)) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "hosts" $hosts "without" $without) -}}
{{- end -}}

{{/* "true" where a registry is named: agents and webhook have nothing to do otherwise. */}}
{{- define "accel.hasRegistries" -}}
{{- if (include "accel.config" . | fromYaml).registries -}}true{{- end -}}
{{- end -}}

{{/* "true" where agents follow the EndpointSlices of their Service: unless `config` names another source. */}}
{{- define "accel.agentsWatch" -}}
{{- $peers := dig "agent" "peers" dict .Values.config -}}
{{- if and .Values.agent.enabled (not (or $peers.static $peers.dns $peers.file)) -}}true{{- end -}}
{{- end -}}

{{/* "true" where the controller signs the agents' certificates, and no node sees the authority's key. */}}
{{- define "accel.controllerSigns" -}}
{{- $peers := dig "agent" "peers" dict .Values.config -}}
{{- $other := or $peers.certificates $peers.plaintext (eq .Values.agent.certificates.mode "plaintext") -}}
{{- if and .Values.agent.enabled .Values.controller.enabled (not $other) -}}true{{- end -}}
{{- end -}}

{{/* Name by which agents ask for certificates; of this release alone. */}}
{{- define "accel.signer" -}}
accel.dev/{{ include "accel.clusterName" . }}
{{- end -}}

{{/* Where an agent's pod has the folder of kubelet's CredentialProviderConfig. Takes `agent.credentialProvider`. */}}
{{- define "accel.providerFolder" -}}
{{- if eq (dir .config) .binaries }}/run/accel/kubelet/plugins{{ else }}/run/accel/kubelet/config{{ end -}}
{{- end -}}

{{/* "true" where agents look at their nodes, and the controller asks them and labels those that are fit. */}}
{{- define "accel.labelsNodes" -}}
{{- $wanted := dig "cluster" "controller" "labelNodes" true .Values.config -}}
{{- if and .Values.agent.enabled .Values.agent.runtimes.overlaybd .Values.controller.enabled $wanted -}}true{{- end -}}
{{- end -}}

{{- define "accel.agentsRun" -}}
{{- if and .Values.agent.enabled (include "accel.hasRegistries" .) -}}true{{- end -}}
{{- end -}}

{{- define "accel.webhookRuns" -}}
{{- if and (eq .Values.admission.kind "webhook") (include "accel.hasRegistries" .) -}}true{{- end -}}
{{- end -}}

{{/* Labels of the nodes that get an agent. */}}
{{- define "accel.agentNodes" -}}
{{- $nodes := deepCopy .Values.agent.nodeSelector -}}
{{- if include "accel.on" .Values.p2p.plusMode.nodeSelectorEnable -}}
{{- $_ := set $nodes "k8s.aliyun.com/p2p-plus-node" "true" -}}
{{- end -}}
{{- toYaml $nodes -}}
{{- end -}}

{{/* The configuration of one role, without the sections of the others. Takes a dict of `root` and `role`. */}}
{{- define "accel.roleConfig" -}}
{{- $all := include "accel.config" .root | fromYaml -}}
{{- $config := pick $all "registries" "drain" -}}
{{- $port := int .root.Values.p2p.v2.exporter.port -}}
{{- $address := printf "0.0.0.0:%d" $port -}}
{{- if eq .role "agent" -}}
{{- $peers := dict -}}
{{- if include "accel.agentsWatch" .root }}{{ $_ := set $peers "service" (dict "name" (printf "%s-agents" (include "accel.fullname" .root))) }}{{ end -}}
{{- if include "accel.controllerSigns" .root -}}
{{- $_ := set $peers "signer" (dict "name" (include "accel.signer" .root) "file" "/run/accel/identity/identity.pem") -}}
{{- else if eq .root.Values.agent.certificates.mode "plaintext" -}}
{{- $_ := set $peers "plaintext" true -}}
{{- else -}}
{{- $_ := set $peers "certificates" (dict "caFile" "/etc/accel/tls/ca.pem" "certFile" "/etc/accel/tls/cert.pem" "keyFile" "/etc/accel/tls/key.pem") -}}
{{- end -}}
{{- $own := dict "advertise" "NODE_ADDRESS" "zone" "NODE_ZONE" "peers" $peers -}}
{{- $_ := set $config "agent" (mustMergeOverwrite $own $all.agent) -}}
{{- /* The controller asks there how the node is. */ -}}
{{- if not (or .root.Values.p2p.v2.exporter.enable (include "accel.labelsNodes" .root)) }}{{ $address = printf "127.0.0.1:%d" $port }}{{ end -}}
{{- else if eq .role "service" -}}
{{- $own := dict "listen" "0.0.0.0:8686" "workDirectory" "/work" -}}
{{- if .root.Values.agent.enabled -}}
{{- $_ := set $own "agents" (dict "dns" (printf "%s-agents.%s.svc.%s:%d" (include "accel.fullname" .root) (include "accel.namespace" .root) .root.Values.clusterDomain $port)) -}}
{{- end -}}
{{- $_ := set $config "service" (mustMergeOverwrite $own ($all.service | default dict)) -}}
{{- with $all.rules }}{{ $_ := set $config "rules" . }}{{ end -}}
{{- else -}}
{{- $cluster := $all.cluster -}}
{{- if eq .role "admission" -}}
{{- $admission := dict "listen" "0.0.0.0:8443" -}}
{{- if eq .root.Values.certificates.mode "self" -}}
{{- $_ := set $admission "certificate" (dict "secret" (include "accel.ownSecret" .root) "webhook" (include "accel.clusterName" .root)) -}}
{{- else -}}
{{- $_ := set $admission "certFile" "/etc/accel/tls/tls.crt" -}}
{{- $_ := set $admission "keyFile" "/etc/accel/tls/tls.key" -}}
{{- end -}}
{{- $own := dict "admission" $admission -}}
{{- $cluster = mustMergeOverwrite $own $cluster -}}
{{- end -}}
{{- $_ := set $config "cluster" $cluster -}}
{{- end -}}
{{- $_ := set $config "telemetry" (mustMergeOverwrite (dict "listen" $address) ($all.telemetry | default dict)) -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Secret with the credentials of lazily loaded devices, which the controller writes. */}}
{{- define "accel.deviceSecret" -}}
{{ include "accel.fullname" . }}-device-credentials
{{- end -}}
