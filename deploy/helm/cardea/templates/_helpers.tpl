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

{{/* The pod of a job: the program, once, over the same databases as the nodes, with the volumes for backups. */}}
{{- define "cardea.job" -}}
restartPolicy: Never
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: cardea
    image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{- toYaml .args | nindent 6 }}
    env:
      - name: POD_NAME
        valueFrom: {fieldRef: {fieldPath: metadata.name}}
    envFrom:
      - secretRef: {name: {{ required "existingSecret names the secret with the root key and the databases" .root.Values.existingSecret | quote }}}
    resources: {{- toYaml .root.Values.resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: config, mountPath: /etc/cardea, readOnly: true}
      - {name: data, mountPath: /var/lib/cardea}
      - {name: backup, mountPath: /backup}
      - {name: backup-keys, mountPath: /backup-keys}
volumes:
  - name: config
    configMap: {name: {{ include "cardea.name" .root }}}
  - name: data # nothing but what the program makes for itself
    emptyDir: {}
  - name: backup
    persistentVolumeClaim: {claimName: {{ required "backup.claim names the claim for backups" .root.Values.backup.claim | quote }}}
  - name: backup-keys
    persistentVolumeClaim: {claimName: {{ required "backup.keysClaim names the claim for the keys of backups" .root.Values.backup.keysClaim | quote }}}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
