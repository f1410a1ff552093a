import { defineConfig, loadEnv } from 'vite';

// What begins with OIDC_ in .env goes into the page; a single-page application has no secret among it.
const env = loadEnv('', import.meta.dirname, 'OIDC_');
const port = Number(new URL(env.OIDC_REDIRECT_URI ?? 'http://localhost:3001').port);

export default defineConfig({
  envPrefix: 'OIDC_',
  server: { port, strictPort: true },
  preview: { port, strictPort: true },
});
