'use client';
import { signIn } from 'next-auth/react';

export function SignIn() {
  return <button onClick={() => signIn('cardea', { callbackUrl: '/' })}>Sign in</button>;
}
