// Holds the admin API's OpenAPI document to the specification (3.1) and generates a client's types from it.
// node generate.mjs <openapi.json> <types to write>
import { createConfig, lintFromString } from '@redocly/openapi-core';
import openapiTS, { astToString } from 'openapi-typescript';
import { readFileSync, writeFileSync } from 'node:fs';

const [document, types] = process.argv.slice(2);
const source = readFileSync(document, 'utf8');
const config = await createConfig({
  extends: ['recommended'], // struct and no-unresolved-refs, which hold it to the specification, are among them
  rules: {
    'info-license': 'off',
    'no-empty-servers': 'off', // it is served where it is used
    'no-unused-components': 'error',
    'no-invalid-media-type-examples': 'error',
    'no-invalid-parameter-examples': 'error',
    'no-invalid-schema-examples': 'error',
    'operation-operationId-url-safe': 'error',
  },
});
const problems = await lintFromString({ source, absoluteRef: document, config });
for (const { severity, ruleId, message, location } of problems) console.error(`${severity}: ${ruleId}: ${message} (${location[0]?.pointer})`);
if (problems.length > 0) process.exit(1);

writeFileSync(types, `// Generated from the admin API's OpenAPI document by make e2e-types.\n${astToString(await openapiTS(JSON.parse(source)))}`);
