import FunctionPluginKit
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import iov_plugin_ethernet

private struct CannotLook: Error {}

extension TestHosts {
  /// Waits until the first host finds a function in use as healthy or not; answers what it says then. A carrier comes and goes a
  /// moment after the cable.
  fileprivate func health(
    of request: FunctionRequest, becomes state: HealthState, after change: () throws -> Void = {}
  ) async throws -> String {
    let watch = try LinkWatch(in: a.namespace, andWhatItKnows: true)
    var changes = watch.changes.makeAsyncIterator()
    try change()
    while true {
      let found = try a.observe(known: { $0 == request.assignment?.function ? request : nil })
      if let health = found.first?.health, health.state == state { return health.message }
      _ = await changes.next()
    }
  }
}

@Suite(.enabled(if: canAdministerNetworks, "needs CAP_NET_ADMIN and CAP_SYS_ADMIN"), .timeLimit(.minutes(1)))
struct HealthOfAFunction {
  @Test func isThatOfItsCarrier() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    #expect(try await hosts.health(of: request, becomes: .healthy) == "")
    let wire = try hosts.wire.index("wire0")
    let place = "interface net0 in network namespace '\(hosts.tenant.name)'"
    let message = try await hosts.health(of: request, becomes: .unhealthy) {
      try hosts.wire.route.change(wire, LinkChange { $0.isUp = false })
    }
    #expect(message == "\(place) has no carrier: look at its card, the cable and the other end")
    // The card is told as unhealthy by the same.
    #expect(try hosts.a.endNode(hosts.a.cards()[0]).health?.state == .unhealthy)
    _ = try await hosts.health(of: request, becomes: .healthy) {
      try hosts.wire.route.change(wire, LinkChange { $0.isUp = true })
    }
  }

  @Test func isThatOfItsInterface() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    let message = try await hosts.health(of: request, becomes: .unhealthy) {
      try hosts.tenant.route.change(hosts.tenant.index("net0"), LinkChange { $0.isUp = false })
    }
    #expect(message.hasSuffix("is down: somebody there has set it down"))
    // What is set up anew is as it is to be, and its verb says so.
    #expect(try hosts.a.attach(request).health?.state == .healthy)
  }

  @Test func ofOneThatIsServedIsKnownWhereTheCardIs() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.server)
    _ = try hosts.a.serve(request)
    _ = try await hosts.health(of: request, becomes: .healthy)
    let wire = try hosts.wire.index("wire0")
    _ = try await hosts.health(of: request, becomes: .unhealthy) {
      try hosts.wire.route.change(wire, LinkChange { $0.isUp = false })
    }
  }

  @Test func isWatched() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    let (signals, signal) = AsyncStream.makeStream(of: Void.self)
    let watch = TroubleWatch(functions: hosts.a, known: { [request] }, thread: BlockingThread(name: "look"))
    let task = Task { await watch.run(failed: { Issue.record($0) }, tell: { signal.yield() }) }
    defer { task.cancel() }
    var told = signals.makeAsyncIterator()
    try hosts.tenant.route.change(hosts.tenant.index("net0"), LinkChange { $0.isUp = false })
    #expect(await told.next() != nil)
    #expect(try hosts.a.troubles(of: [request]).count == 1)
    // It is deleted.
    try hosts.tenant.route.delete(hosts.tenant.index("net0"))
    #expect(await told.next() != nil)
    #expect(try hosts.a.troubles(of: [request]) == [request.assignment?.function ?? "": "it is gone"])
  }

  @Test func isWatchedAlsoAfterAnError() async throws {
    let hosts = try TestHosts()
    let request = try hosts.request(.direct)
    _ = try hosts.a.attach(request)
    let (signals, signal) = AsyncStream.makeStream(of: Void.self)
    let isBroken = Mutex(true)
    let known: @Sendable () throws -> [FunctionRequest] = {
      try isBroken.withLock { isBroken in
        defer { isBroken = false }
        if isBroken { throw CannotLook() }
        return [request]
      }
    }
    let watch = TroubleWatch(
      functions: hosts.a, known: known, thread: BlockingThread(name: "look"), pause: .milliseconds(1))
    let (errors, failed) = AsyncStream.makeStream(of: (any Error).self)
    let task = Task { await watch.run(failed: { failed.yield($0) }, tell: { signal.yield() }) }
    defer { task.cancel() }
    var (told, failures) = (signals.makeAsyncIterator(), errors.makeAsyncIterator())
    #expect(await failures.next() is CannotLook)
    // Whoever is told looks anew.
    #expect(await told.next() != nil)
    try hosts.tenant.route.change(hosts.tenant.index("net0"), LinkChange { $0.isUp = false })
    #expect(await told.next() != nil)
    #expect(try hosts.a.troubles(of: [request]).count == 1)
  }
}
