package config

// Secrets are the keys of the settings that are secret and set, those that stand
// in the environment alone left out.
func (c *Config) Secrets() []string {
	var keys []string
	for _, f := range fieldsOf(c) {
		if secret, is := f.value.Interface().(Secret); is && !secret.IsZero() && !f.envOnly {
			keys = append(keys, f.key)
		}
	}
	return keys
}
