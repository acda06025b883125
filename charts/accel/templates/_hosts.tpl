{{/* The hosts by which images go through the agents, by the registries' own: as server/config/p2p-names.ts has them. */}}
{{- define "accel.mappedHosts" -}}
{{- $config := include "accel.config" . | fromYaml -}}
{{- $p2p := $config.cluster.p2p -}}
{{- $hosts := dict -}}
{{- range $registry := $config.registries -}}
{{- $host := $registry.host -}}
{{- $given := get ($p2p.hosts | default dict) $host -}}
{{- if $given -}}
{{- $_ := set $hosts $host $given -}}
{{- else if regexMatch "^[^.:]+\\.[^:]*[a-zA-Z][^:]*$" $host -}}
{{- $name := index (splitn "." 2 $host) "_0" -}}
{{- $rest := index (splitn "." 2 $host) "_1" -}}
{{- if eq ($p2p.hostForm | default "keep-vpc") "drop-vpc" }}{{ $name = trimSuffix "-vpc" $name }}{{ end -}}
{{- $_ := set $hosts $host (printf "%s.distributed.%s:%d" $name $rest (int $p2p.port)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $hosts -}}
{{- end -}}

{{/* CEL: whether an image goes through the agent. Takes the expressions of the image and of its pull policy. */}}
{{- define "accel.celChanges" -}}
{{- $image := index . 0 -}}
has({{ $image }}) && {{ $image }}.split("/")[0] in variables.hosts && !{{ $image }}.matches(variables.accelerated) && (!has({{ index . 1 }}) || {{ index . 1 }} != "Never")
{{- end -}}

{{/* CEL: the containers of a list that have another image, with that image. */}}
{{- define "accel.celImages" -}}
(has(object.spec.{{ . }}) ? object.spec.{{ . }}.filter(c, {{ include "accel.celChanges" (list "c.image" "c.imagePullPolicy") }}).map(c,
  Object.spec.{{ . }}{ name: c.name, image: variables.hosts[c.image.split("/")[0]] + c.image.substring(c.image.indexOf("/")) }) : [])
{{- end -}}
