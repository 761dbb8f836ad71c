import FoundationEssentials
import Services
import Testing

@testable import iov

@Suite(.timeLimit(.minutes(2))) struct CompletionTests {
  @Test func theScriptOfBashLoads() async throws {
    let script = try await run(["--generate-completion-script", "bash"])
    #expect(script.code == 0)
    let file = "/tmp/iov-completion-\(UUID().uuidString).bash"
    try script.output.write(toFile: file, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(atPath: file) }
    #expect(try await run(["-n", file], program: "/bin/bash").code == 0)
    let loaded = try await run(["-c", "source \(file) && complete -p iov"], program: "/bin/bash")
    #expect(loaded.code == 0, "\(loaded.errors)")
    #expect(loaded.output.contains("iov"))
  }

  @Test(arguments: ["zsh", "fish"]) func otherShellsHaveAScript(shell: String) async throws {
    let script = try await run(["--generate-completion-script", shell])
    #expect(script.code == 0)
    #expect(script.output.contains("confirm-dead"))
  }

  /// What bash offers after the words, the last of which is being typed.
  private func offered(_ words: [String], _ environment: [String: String] = [:]) async throws -> Run {
    let directory = String(programPath.prefix(upTo: programPath.lastIndex(of: "/") ?? programPath.startIndex))
    let quoted = words.map { "'\($0)'" }.joined(separator: " ")
    let script = """
      PATH='\(directory)':$PATH
      source <(iov --generate-completion-script bash)
      COMP_WORDS=(\(quoted)); COMP_CWORD=\(words.count - 1); COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
      COMP_TYPE=9
      $(complete -p iov | sed 's/.*-F \\([^ ]*\\).*/\\1/') iov "${COMP_WORDS[COMP_CWORD]}" ''
      printf '%s\\n' "${COMPREPLY[@]}"
      """
    return try await run(["-c", script], program: "/bin/bash", environment: environment)
  }

  @Test func namesComeFromTheCoordinator() async throws {
    let fake = try await FakeCoordinator { $0.fillWithSample() }
    let environment = ["IOV_COORDINATOR": fake.endpoint.description]
    // Whoever types is not kept waiting: on a busy machine there may be no answer in time.
    var hosts = try await offered(["iov", "host", "describe", "host-"], environment)
    while hosts.errors.isEmpty, !hosts.output.contains("host-a") {
      hosts = try await offered(["iov", "host", "describe", "host-"], environment)
    }
    #expect(hosts.lines.map { $0.filter { $0 != " " } } == ["host-a", "host-b"], "\(hosts.errors)")
    var claims = try await offered(["iov", "claim", "get", ""], environment)
    while claims.errors.isEmpty, !claims.output.contains("web") {
      claims = try await offered(["iov", "claim", "get", ""], environment)
    }
    #expect(claims.output.contains("web"), "\(claims.errors)")
  }

  @Test func withoutACoordinatorNothingIsOfferedAndNothingSaid() async throws {
    let hosts = try await offered(["iov", "host", "describe", "h"], ["IOV_COORDINATOR": "unix:/nowhere/socket"])
    #expect(!hosts.output.contains("host"))
    #expect(hosts.errors.isEmpty)
    let nonsense = try await offered(["iov", "host", "describe", "h"], ["IOV_COORDINATOR": "nonsense"])
    #expect(nonsense.errors.isEmpty)
  }

  @Test func theLineThatIsTypedNamesTheCoordinator() {
    #expect(NameCompletion.coordinator(in: ["iov", "--coordinator", "a:1", "x"]) == "a:1")
    #expect(NameCompletion.coordinator(in: ["iov", "--coordinator=a:1"]) == "a:1")
    #expect(NameCompletion.coordinator(in: ["iov", "--coordinator"]) == nil)
  }
}
