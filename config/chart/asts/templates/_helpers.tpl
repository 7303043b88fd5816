{{- /* The beginning of all names. The longest goes on with "-manager-metrics" and is a Service's. */}}
{{- define "asts.name" -}}
{{- .Values.fullnameOverride | default (.Release.Name | replace "." "-") | trunc 47 | trimSuffix "-" }}
{{- end }}

{{- define "asts.manager" -}}
{{- include "asts.name" . }}-manager
{{- end }}

{{- define "asts.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "asts.manager" .) }}
{{- else }}
{{- required "serviceAccount.name: name the ServiceAccount, as serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "asts.lease" -}}
{{- .Values.leaderElection.name | default (include "asts.manager" .) }}
{{- end }}

{{- define "asts.leaseNamespace" -}}
{{- .Values.leaderElection.namespace | default .Release.Namespace }}
{{- end }}

{{- define "asts.labels" -}}
app.kubernetes.io/name: asts
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "asts.selector" -}}
app.kubernetes.io/name: asts
app.kubernetes.io/component: manager
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The documents of a file that is linked from config/, as a list under "documents". */}}
{{- define "asts.linked" -}}
{{- $documents := list }}
{{- range regexSplit "(?m)^---$" (.root.Files.Get .file) -1 }}
{{- $document := fromYaml . }}
{{- $_ := required (printf "%s is not in the chart: copy it with its links followed" $.file) (get $document "kind") }}
{{- $documents = append $documents $document }}
{{- end }}
{{- dict "documents" $documents | toYaml }}
{{- end }}

{{- define "asts.subject" -}}
kind: ServiceAccount
name: {{ include "asts.serviceAccount" . }}
namespace: {{ .Release.Namespace }}
{{- end }}
