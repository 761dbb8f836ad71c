import Services
import Testing

@testable import MeshServices

@Test func aServerIsWhatTheBoardSays() async throws {
  let board = HealthBoard(services: ["test.A"])
  try await withServer([HealthFrontend(board)]) { channel in
    let health = HealthClient(channel)
    #expect(try await health.check(HealthCheckRequest("")).status == .notServing)
    board.setAll(.serving)
    #expect(try await health.check(HealthCheckRequest("")).status == .serving)
    #expect(try await health.check(HealthCheckRequest("test.A")).status == .serving)
    board.set(.notServing, for: "test.A")
    #expect(try await health.check(HealthCheckRequest("test.A")).status == .notServing)
    let listed = try await health.list(HealthListRequest()).statuses.mapValues(\.status)
    #expect(listed == ["": .serving, "test.A": .notServing])
  }
}

@Test func aServiceThatNobodyKnowsIsNotFound() async throws {
  try await withServer([HealthFrontend(HealthBoard())]) { channel in
    let error = await #expect(throws: RPCError.self) {
      _ = try await HealthClient(channel).check(HealthCheckRequest("test.Missing"))
    }
    #expect(error?.code == .notFound)
  }
}

@Test func aWatcherIsToldEveryChangeOnce() async throws {
  let board = HealthBoard()
  try await withServer([HealthFrontend(board)]) { channel in
    var told = try await HealthClient(channel).watch(HealthCheckRequest("test.Late")).makeAsyncIterator()
    #expect(try await told.next()?.status == .serviceUnknown)
    board.set(.notServing, for: "test.Late")
    #expect(try await told.next()?.status == .notServing)
    // Another service's change and a repetition are no news.
    board.set(.serving, for: "")
    board.set(.notServing, for: "test.Late")
    board.set(.serving, for: "test.Late")
    #expect(try await told.next()?.status == .serving)
  }
}

@Test func whoDrainsStaysNotServingAndLetsWatchersGo() async throws {
  let board = HealthBoard()
  board.setAll(.serving)
  try await withServer([HealthFrontend(board)]) { channel in
    var told = try await HealthClient(channel).watch(HealthCheckRequest("")).makeAsyncIterator()
    #expect(try await told.next()?.status == .serving)
    board.drain()
    board.setAll(.serving)
    #expect(try await told.next()?.status == .notServing)
    let error = await #expect(throws: RPCError.self) { _ = try await told.next() }
    #expect(error?.code == .unavailable)
    #expect(try await HealthClient(channel).check(HealthCheckRequest("")).status == .notServing)
  }
}

@Test func aWatcherThatGoesIsForgotten() async throws {
  let board = HealthBoard()
  let changes = board.changes()
  #expect(board.watcherCount == 1)
  let reader = Task { for await _ in changes {} }
  reader.cancel()
  await reader.value
  #expect(board.watcherCount == 0)
}
