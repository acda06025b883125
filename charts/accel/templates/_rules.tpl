{{/* Permissions of the webhook in the whole cluster. */}}
{{- define "accel.admissionClusterRules" -}}
# Labels of namespaces.
- { apiGroups: [""], resources: [namespaces], verbs: [get, list, watch] }
# Nodes that should have an agent.
- { apiGroups: [""], resources: [nodes], verbs: [list, watch] }
# Events of kubelets about images that cannot be pulled, and its own about labels that ask for what cannot be.
- { apiGroups: [""], resources: [events], verbs: [create, list, watch] }
{{- if eq .Values.certificates.mode "self" }}
# The authority that API servers trust for the webhook.
- { apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], resourceNames: [{{ include "accel.clusterName" . }}], verbs: [get, list, patch, watch] }
{{- end }}
{{- end -}}

{{/* Permissions of the webhook in its namespace. */}}
{{- define "accel.admissionRules" -}}
# Agents that are ready.
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
{{- if eq .Values.certificates.mode "self" }}
# The certificate that it makes itself.
- { apiGroups: [""], resources: [secrets], resourceNames: [{{ include "accel.ownSecret" . }}], verbs: [get, list, update, watch] }
{{- end }}
{{- end -}}

{{/* Permissions of the controller in the whole cluster. */}}
{{- define "accel.controllerClusterRules" -}}
# Labels of namespaces.
- { apiGroups: [""], resources: [namespaces], verbs: [get, list, watch] }
# The label of nodes that can run accelerated images.
- { apiGroups: [""], resources: [nodes], verbs: [get, list, patch, watch] }
- { apiGroups: [""], resources: [events], verbs: [create] }
{{- if include "accel.controllerSigns" . }}
# Requests of agents for certificates; the API lets it answer those to its own signer alone.
- { apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests], verbs: [list, watch] }
- { apiGroups: [certificates.k8s.io], resources: [certificatesigningrequests/approval, certificatesigningrequests/status], verbs: [update] }
- { apiGroups: [certificates.k8s.io], resources: [signers], resourceNames: [{{ include "accel.signer" . }}], verbs: [approve, sign] }
{{- end }}
{{- end -}}

{{/* Permissions of the controller in its namespace. */}}
{{- define "accel.controllerRules" -}}
# One of its pods leads.
- { apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, update] }
# Agents, to ask how their nodes are.
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
# The secret with the credentials of lazily loaded devices, which the agents' pods mount.
- { apiGroups: [""], resources: [secrets], resourceNames: [{{ include "accel.deviceSecret" . }}], verbs: [get, update] }
{{- if include "accel.controllerSigns" . }}
# The authority of the agents, and the pods that ask for its certificates.
- { apiGroups: [""], resources: [secrets], resourceNames: [{{ include "accel.authoritySecret" . }}], verbs: {{ if eq .Values.agent.certificates.mode "secret" }}[get]{{ else }}[get, update]{{ end }} }
- { apiGroups: [""], resources: [pods], verbs: [get] }
{{- end }}
{{- end -}}

{{/* Permissions for secrets in an enabled namespace, by role: the webhook reads those that pods name, the controller copies them. */}}
{{- define "accel.secretRules" -}}
{{- if eq . "admission" -}}
- { apiGroups: [""], resources: [secrets], verbs: [get] }
{{- else -}}
- { apiGroups: [""], resources: [secrets], verbs: [create, delete, get, list, patch, update, watch] }
{{- end -}}
{{- end -}}
