import Foundation

/// What one run of the program did.
struct Run: Sendable {
  let output: String
  let errors: String
  let code: Int32

  var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// The program, beside the test program.
let programPath: String = {
  let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
  return tests.prefix(through: tests.lastIndex(of: "/") ?? tests.startIndex) + "iov"
}()

/// Runs `iov`, or another program, to its end. Standard input is `input`, or empty.
func run(
  _ arguments: [String], program: String = programPath, input: String? = nil, environment: [String: String] = [:]
) async throws -> Run {
  let directory = NSTemporaryDirectory() + "iov-run-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: directory) }
  // Files, because a pipe that nobody reads would block the program.
  let files = try ["in", "out", "errors"].map { name in
    let path = directory + "/" + name
    try (name == "in" ? input ?? "" : "").write(toFile: path, atomically: false, encoding: .utf8)
    return try FileHandle(forUpdating: URL(fileURLWithPath: path))
  }
  let process = Process()
  process.executableURL = URL(fileURLWithPath: program)
  process.arguments = arguments
  process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
  process.standardInput = files[0]
  process.standardOutput = files[1]
  process.standardError = files[2]
  try await withCheckedThrowingContinuation { (ended: CheckedContinuation<Void, any Error>) in
    process.terminationHandler = { _ in ended.resume() }
    do { try process.run() } catch { ended.resume(throwing: error) }
  }
  func text(_ name: String) throws -> String { try String(contentsOfFile: directory + "/" + name, encoding: .utf8) }
  return Run(output: try text("out"), errors: try text("errors"), code: process.terminationStatus)
}
