{{- define "cardea.name" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cardea.labels" -}}
app.kubernetes.io/name: cardea
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cardea.selector" -}}
app.kubernetes.io/name: cardea
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
