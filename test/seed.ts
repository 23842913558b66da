/** One seed for all samples of a run, printed so that the run can be repeated. */
export default () => {
  process.env["SANDBOX_TEST_SEED"] ||= String(Date.now() % 1_000_000)
  process.stderr.write(`SANDBOX_TEST_SEED=${process.env["SANDBOX_TEST_SEED"]}\n`)
}
