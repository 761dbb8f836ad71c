import Glibc
import LinuxDevices
import Testing

@Suite(.timeLimit(.minutes(1)), .serialized)
struct SignalWatchTests {
  @Test func aSignalThatComesBeforeAnybodyWaitsIsNotLost() async throws {
    for _ in 0..<200 {
      let watch = try SignalWatch(SIGUSR1, SIGUSR2)
      kill(getpid(), SIGUSR2)
      try await watch.wait()
    }
  }

  @Test func whoWaitsHearsOfWhatComes() async throws {
    let watch = try SignalWatch(SIGUSR1)
    async let heard: Void = watch.wait()
    kill(getpid(), SIGUSR1)
    try await heard
  }

  @Test func aWaitThatIsCancelledTakesNothingFromTheNext() async throws {
    let watch = try SignalWatch(SIGUSR1)
    let cancelled = Task { try await watch.wait() }
    cancelled.cancel()
    await #expect(throws: CancellationError.self) { try await cancelled.value }
    kill(getpid(), SIGUSR1)
    try await watch.wait()
  }

  @Test func watchesOfOtherSignalsHearNothing() async throws {
    let (first, second) = (try SignalWatch(SIGUSR1), try SignalWatch(SIGUSR2))
    kill(getpid(), SIGUSR1)
    try await first.wait()
    let other = Task { try await second.wait() }
    other.cancel()
    await #expect(throws: CancellationError.self) { try await other.value }
  }

  @Test func numbersThatAreNoSignalsAndThoseThatCannotBeCaughtAreRefused() {
    #expect(throws: SystemCallError.self) { _ = try SignalWatch(0) }
    #expect(throws: SystemCallError.self) { _ = try SignalWatch(4711) }
    #expect(throws: SystemCallError.self) { _ = try SignalWatch(SIGKILL) }
  }
}
