/** The first note of a session, through its own web server. */
const response = await fetch(`http://127.0.0.1:${process.env.PORT}/notes`, {
  method: "POST",
  body: `${process.env.GREETING} from ${process.env.SANDBOX_NAME}`
})
if (!response.ok) throw new Error(`the web server answered ${response.status}`)
