{{/* Names are fixed: there is one Ebb in a cluster, and its parts find each other by them. */}}

{{/* Labels of every object: (list $ "component"). */}}
{{- define "ebb.labels" -}}
{{ include "ebb.selector" . }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: ebb
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What never changes of them: (list $ "component"). */}}
{{- define "ebb.selector" -}}
app.kubernetes.io/name: ebb
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image's reference: (list $ .Values.autoscaler.image). */}}
{{- define "ebb.image" -}}
{{- $all := (index . 0).Values.image -}}
{{- $one := index . 1 -}}
{{- with $all.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $one.repository -}}
{{- if $one.digest }}@{{ $one.digest }}{{ else }}:{{ $all.tag | default (index . 0).Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* What both Deployments' pods have in common: (list $ "component" .Values.component). */}}
{{- define "ebb.pod" -}}
{{- $values := index . 2 -}}
{{- with (index . 0).Values.priorityClass.name }}
priorityClassName: {{ . }}
{{- end }}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- if $values.affinity }}
affinity:
  {{- toYaml $values.affinity | nindent 2 }}
{{- else if ne $values.spread "none" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "ebb.selector" . | nindent 14 }}
{{- end }}
{{- if ne $values.spread "none" }}
topologySpreadConstraints:
  {{- if eq $values.spread "require" }}
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: DoNotSchedule
    nodeTaintsPolicy: Honor
    labelSelector:
      matchLabels:
        {{- include "ebb.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  - topologyKey: topology.kubernetes.io/zone
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "ebb.selector" . | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}

{{/* The metadata of both Deployments' pods: (list $ "component" .Values.component). */}}
{{- define "ebb.podMetadata" -}}
{{- $values := index . 2 -}}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "ebb.labels" . | nindent 2 }}
{{- end }}

{{/* Restricted, as the Pod Security Standard has it, and a root that cannot be written to. */}}
{{- define "ebb.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What the webhooks of both kinds have in common: (list $ "/path"). */}}
{{- define "ebb.webhook" -}}
{{- $root := index . 0 -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    namespace: {{ $root.Release.Namespace }}
    name: ebb-autoscaler
    port: 443
    path: {{ index . 1 }}
failurePolicy: {{ $root.Values.webhooks.failurePolicy }}
timeoutSeconds: {{ $root.Values.webhooks.timeoutSeconds }}
matchPolicy: Equivalent
sideEffects: None
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        - kube-system
        - kube-node-lease
        - {{ $root.Release.Namespace }}
        {{- with $root.Values.webhooks.ignoreNamespaces }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    - key: ebb.dev/ignore
      operator: NotIn
      values: ["", "true"]
{{- end }}

{{/* Of the webhooks for Services: only those that have, or had, an annotation of Ebb. */}}
{{- define "ebb.webhookOfServices" -}}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    resources: [services]
    operations: [CREATE, UPDATE]
    scope: Namespaced
matchConditions:
  - name: has-or-had-annotations-of-ebb
    expression: >-
      [object, oldObject].exists(service, service != null && has(service.metadata.annotations) &&
      service.metadata.annotations.exists(key, key.startsWith('ebb.dev/')))
{{- end }}
