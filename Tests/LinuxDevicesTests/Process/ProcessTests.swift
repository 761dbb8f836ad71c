import Glibc
import LinuxDevices
import Testing

@Suite(.timeLimit(.minutes(1)))
struct ProcessTests {
  @Test func aChildTellsHowItEnded() async throws {
    let child = try ChildProcess.spawn(executable: "sh", arguments: ["-c", "sleep 0.05; exit 7"])
    #expect(try await child.waitUntilExit() == .exited(7))
    #expect(!child.identity.isAlive)
  }

  @Test func aKilledChildIsGone() async throws {
    let child = try ChildProcess.spawn(executable: "sleep", arguments: ["100"])
    #expect(child.identity.isAlive && getsid(child.identity.pid) == child.identity.pid)
    try await child.handle.killAndWait()
    #expect(!child.identity.isAlive && ProcessHandle(child.identity) == nil)
    try child.kill(SIGTERM)  // nobody is hit
  }

  @Test func anotherProcessOfTheSameNumberIsNotMeant() async throws {
    let own = try #require(ProcessIdentity(of: getpid()))
    #expect(ProcessIdentity(own.description) == own && own.isAlive)
    let earlier = try #require(ProcessIdentity("\(own.pid) \(own.startTimeTicks - 1) \(own.bootID)"))
    #expect(!earlier.isAlive && ProcessHandle(earlier) == nil)
    let otherBoot = try #require(ProcessIdentity("\(own.pid) \(own.startTimeTicks) another"))
    #expect(!otherBoot.isAlive)
  }

  @Test func aProgramGetsTheDescriptorsMeantForItAndNoOthers() async throws {
    // As a library may open one that is not close-on-exec: one below what is meant for the program, one above.
    let below = FileDescriptor(owning: dup(STDIN_FILENO))
    let kept = try FileDescriptor(opening: "/dev/null", O_RDONLY)
    let other = FileDescriptor(owning: dup(STDIN_FILENO))
    let isAbsent = [below, other].map { "[ ! -e /proc/$$/fd/\($0.number) ]" }.joined(separator: " && ")
    let script = "[ -e /proc/$$/fd/\(kept.number) ] && \(isAbsent); r=$?; sleep 0.05; exit $r"
    let child = try ChildProcess.spawn(executable: "sh", arguments: ["-c", script], inheriting: [kept.number])
    #expect(try await child.waitUntilExit() == .exited(0))
    withExtendedLifetime((below, other)) {}
  }

  @Test func aWaitThatIsGivenUpEnds() async throws {
    let child = try ChildProcess.spawn(executable: "sleep", arguments: ["100"])
    #expect(try await child.handle.waitUntilExit(atMost: .milliseconds(5)) == nil)
    try await child.handle.killAndWait()
  }

  @Test func aProgramThatIsNotThereIsNamed() {
    let error = #expect(throws: SystemCallError.self) {
      try ChildProcess.spawn(executable: "/nonexistent/program", arguments: [])
    }
    #expect(error?.description.contains("/nonexistent/program") == true)
  }

  @Test func aProcessIsFoundByItsArgument() async throws {
    let argument = "100.\(UInt32.random(in: 1 ... .max))"
    let child = try ChildProcess.spawn(executable: "sleep", arguments: [argument])
    #expect(ProcessIdentity.running(program: "sleep", withArgument: argument) == [child.identity])
    try await child.handle.killAndWait()
    #expect(ProcessIdentity.running(program: "sleep", withArgument: argument) == [])
  }

  @Test func jobsOfOneThreadRunInOrder() async throws {
    let thread = BlockingThread()
    let first = try await thread.run { pthread_self() }
    let second = try await thread.run { pthread_self() }
    #expect(first == second)
    let outside = try await BlockingThread.detached { pthread_self() }
    #expect(outside != first)
  }
}

@Suite(.timeLimit(.minutes(1))) struct CommandTests {
  @Test func aCommandReadsItsInputAndIsHeardToTheEnd() async throws {
    let script = "read line; echo \"got $line\" >&2; exit 3"
    let outcome = try await BlockingThread.detached {
      try Command(executable: "sh", arguments: ["-c", script], input: "secret\n").run(atMost: .seconds(30))
    }
    #expect(outcome.status == .exited(3))
    #expect(outcome.complaints == "got secret\n")
  }

  @Test func aCommandThatEndsAtOnceHasItsStatus() async throws {
    for _ in 0..<20 {
      let outcome = try await BlockingThread.detached { try Command(executable: "true").run(atMost: .seconds(30)) }
      #expect(outcome.status == .exited(0))
    }
  }

  @Test func aCommandThatTakesTooLongIsKilledWithAllThatItStarted() async throws {
    let outcome = try await BlockingThread.detached {
      try Command(executable: "sh", arguments: ["-c", "sleep 1000 & echo $! >&2; wait"]).run(atMost: .milliseconds(300))
    }
    #expect(outcome.status == nil)
    let child = try #require(Int32(outcome.complaints.trimmingPrefix(" ").prefix { $0.isNumber }))
    while ProcessIdentity(of: child) != nil { await Task.yield() }
  }
}
