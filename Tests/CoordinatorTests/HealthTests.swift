import Descriptors
import Services
import Testing

@testable import Coordinator

@Suite(.timeLimit(.minutes(1))) struct HealthTests {
  @Test func aCoordinatorServesAllThatItListsUntilItStops() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let health = HealthClient(coordinator.channel())
    var watch = try await health.watch(HealthCheckRequest { $0.service = "iov.v1.Claims" }).makeAsyncIterator()
    // It may not have begun yet when it listens.
    var status = try await watch.next()?.status
    if status == .notServing { status = try await watch.next()?.status }
    #expect(status == .serving)
    let statuses = try await health.list(HealthListRequest()).statuses.mapValues(\.status)
    #expect(
      statuses == [
        "": .serving, "iov.v1.Claims": .serving, "iov.v1.Inventory": .serving, "iov.v1.AgentSessions": .serving,
        "iov.v1.Operations": .serving,
      ])
    try await coordinator.stop()
    let error = await rpcError { while try await watch.next()?.status == .notServing {} }
    #expect(error?.code == .unavailable)
  }

  @Test func aCoordinatorDescribesAllThatItServes() async throws {
    let coordinator = try await TestCoordinator(in: TemporaryDirectory())
    let call = try await ServerReflectionClient(coordinator.channel()).serverReflectionInfo()
    var answers = call.responses.makeAsyncIterator()
    try await call.write(ServerReflectionRequest { $0.messageRequest = .listServices("") })
    guard case .listServicesResponse(let list)? = try await answers.next()?.messageResponse else {
      Issue.record("no list of services")
      return
    }
    #expect(list.service.count == 7)
    for service in list.service {
      try await call.write(ServerReflectionRequest { $0.messageRequest = .fileContainingSymbol(service.name) })
      guard case .fileDescriptorResponse? = try await answers.next()?.messageResponse else {
        Issue.record("\(service.name) is not described")
        continue
      }
    }
    call.finishWriting()
    #expect(try await answers.next() == nil)
    try await coordinator.stop()
  }
}
