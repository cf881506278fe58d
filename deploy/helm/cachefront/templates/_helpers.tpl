{{- define "cachefront.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}
{{- end }}

{{- define "cachefront.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "cachefront.labels" -}}
{{ include "cachefront.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end }}

{{/* The environment of every role. Secrets by reference only. */}}
{{- define "cachefront.environment" -}}
- name: CACHEFRONT_MYSQL_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.database.existingSecret }}, key: url}}
- name: CACHEFRONT_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.store.existingSecret }}, key: url}}
- name: CACHEFRONT_API_TOKENS
  valueFrom: {secretKeyRef: {name: {{ .Values.access.existingSecret }}, key: api-tokens}}
- name: CACHEFRONT_API_URL
  value: http://{{ include "cachefront.fullname" . }}-api:8000
- name: CACHEFRONT_SOURCE
  value: {{ .Values.source }}
- name: CACHEFRONT_TTL
  value: {{ .Values.cache.ttl }}
- name: CACHEFRONT_STARTUP_TIMEOUT
  value: {{ .Values.startupTimeout }}
- name: CACHEFRONT_LOG
  value: {{ .Values.log | quote }}
{{- with .Values.cache.mode }}
- name: CACHEFRONT_MODE
  value: {{ . }}
{{- end }}
{{- with .Values.cache.freshnessObjective }}
- name: CACHEFRONT_FRESHNESS_OBJECTIVE
  value: {{ . | quote }}
{{- end }}
{{- with .Values.cache.onLag }}
- name: CACHEFRONT_ON_LAG
  value: {{ . }}
{{- end }}
{{- if .Values.cache.fenced }}
- name: CACHEFRONT_FENCED
  value: "true"
{{- end }}
{{- if .Values.cache.refreshInPlace }}
- name: CACHEFRONT_REFRESH_IN_PLACE
  value: "true"
{{- end }}
{{- if not .Values.sampleUsers }}
- name: CACHEFRONT_SAMPLE_USERS
  value: "false"
{{- end }}
{{- with .Values.cache.staleIfError }}
- name: CACHEFRONT_STALE_IF_ERROR
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.brokers }}
- name: CACHEFRONT_KAFKA_BROKERS
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.connectUrl }}
- name: CACHEFRONT_CONNECT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.topicPrefix }}
- name: CACHEFRONT_TOPIC_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.group }}
- name: CACHEFRONT_KAFKA_GROUP
  value: {{ . | quote }}
{{- end }}
{{- with .Values.kafka.existingSecret }}
- name: CACHEFRONT_KAFKA_SETTINGS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: settings}}
{{- end }}
{{- if .Values.trust.existingConfigMap }}
- name: CACHEFRONT_TLS_CA
  value: /etc/cachefront/ca.pem
{{- end }}
{{- end }}

{{/* The pod of a role: root, role, port (0 for a job), resources, extra environment; data: a volume that it may write to. */}}
{{- define "cachefront.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "cachefront.labels" . | nindent 4 }}
  {{- with $root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "cachefront.fullname" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  terminationGracePeriodSeconds: 30
  {{- if .port }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "cachefront.selector" . | nindent 10 }}
  {{- else }}
  restartPolicy: OnFailure
  {{- end }}
  containers:
    - name: {{ .role }}
      image: "{{ $root.Values.image.repository }}-{{ .role }}:{{ default $root.Chart.AppVersion $root.Values.image.tag }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      env:
        {{- include "cachefront.environment" $root | nindent 8 }}
        {{- with .environment }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- with .resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if .port }}
      ports:
        - {name: http, containerPort: {{ .port }}}
      startupProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 2
        failureThreshold: 45
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet: {path: {{ .ready }}, port: http}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- end }}
      {{- if or .data $root.Values.trust.existingConfigMap }}
      volumeMounts:
        {{- if .data }}
        - {name: data, mountPath: /data}
        {{- end }}
        {{- if $root.Values.trust.existingConfigMap }}
        - {name: trust, mountPath: /etc/cachefront, readOnly: true}
        {{- end }}
      {{- end }}
  {{- if or .data $root.Values.trust.existingConfigMap }}
  volumes:
    {{- with .data }}
    - name: data
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $root.Values.trust.existingConfigMap }}
    - name: trust
      configMap:
        name: {{ . }}
        items: [{key: ca.pem, path: ca.pem}]
    {{- end }}
  {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What the control panel alone is told. */}}
{{- define "cachefront.panel" -}}
- name: CACHEFRONT_UI_ADMIN_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.access.existingSecret }}, key: admin-password}}
- name: CACHEFRONT_UI_OPERATOR_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.access.existingSecret }}, key: operator-password, optional: true}}
- name: CACHEFRONT_UI_VIEWER_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .Values.access.existingSecret }}, key: viewer-password, optional: true}}
- name: CACHEFRONT_UI_SECURE
  value: {{ .Values.ui.secure | quote }}
- name: CACHEFRONT_UI_READ_ONLY
  value: {{ .Values.ui.readOnly | quote }}
- name: CACHEFRONT_DATA_DIR
  value: /data
- name: CACHEFRONT_RUNS_MAX
  value: {{ int64 .Values.ui.runs.countMax | quote }}
- name: CACHEFRONT_RUNS_BYTES_MAX
  value: {{ int64 .Values.ui.runs.bytesMax | quote }}
- name: CACHEFRONT_SWEEP_MAX
  value: {{ .Values.ui.runs.sweepMax | quote }}
{{- end }}

{{/* Where the panel keeps runs: the claim that is named, or one of its own, or the pod's own disk. */}}
{{- define "cachefront.runs" -}}
{{- with .Values.ui.persistence }}
{{- if .enabled }}
persistentVolumeClaim:
  claimName: {{ default (printf "%s-runs" (include "cachefront.fullname" $)) .existingClaim }}
{{- else }}
emptyDir: {}
{{- end }}
{{- end }}
{{- end }}

{{/* The database as Kafka Connect sees it. */}}
{{- define "cachefront.connect" -}}
- name: CACHEFRONT_CONNECT_MYSQL_URL
  valueFrom: {secretKeyRef: {name: {{ default .Values.database.existingSecret .Values.kafka.connectDatabaseSecret }}, key: url}}
{{- with .Values.kafka.existingSecret }}
- name: CACHEFRONT_CONNECT_KAFKA_SETTINGS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: connect-settings, optional: true}}
{{- end }}
{{- end }}
