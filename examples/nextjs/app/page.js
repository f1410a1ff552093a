import { getServerSession } from 'next-auth';
import { options } from '../auth';
import { SignIn } from './signin';

export default async function Home() {
  const session = await getServerSession(options);
  if (!session) {
    return (
      <>
        <h1>Hello stranger</h1>
        <SignIn />
      </>
    );
  }
  return (
    <>
      <h1>Hello {session.user.name}</h1>
      <form method="post" action="/signout">
        <button>Sign out</button>
      </form>
    </>
  );
}
