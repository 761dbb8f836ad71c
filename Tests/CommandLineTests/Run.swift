import Foundation
import LinuxDevices
import Services

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
///
/// Not by Foundation's `Process`: it waits with select(2), which knows no descriptor above 1023, and the tests of one run
/// share a process that has more.
func run(
  _ arguments: [String], program: String = programPath, input: String? = nil, environment: [String: String] = [:]
) async throws -> Run {
  let directory = NSTemporaryDirectory() + "iov-run-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: directory) }
  // Files, because a pipe that nobody reads would block the program.
  try (input ?? "").write(toFile: directory + "/in", atomically: false, encoding: .utf8)
  let redirected = "exec \"$0\" \"$@\" <'\(directory)/in' >'\(directory)/out' 2>'\(directory)/errors'"
  let settings = environment.map { "\($0.key)=\($0.value)" }
  let command = Command(executable: "env", arguments: settings + ["/bin/sh", "-c", redirected, program] + arguments)
  let status = try await BlockingThread.detached { try command.run(atMost: .seconds(100)).status }
  func text(_ name: String) throws -> String { try String(contentsOfFile: directory + "/" + name, encoding: .utf8) }
  guard case .exited(let code) = status else {
    throw RPCError(.internalError, "\(program) ended with \(status?.description ?? "the time limit")")
  }
  return Run(output: try text("out"), errors: try text("errors"), code: code)
}
