import Services
import Testing

@testable import Coordinator

@Suite struct ClaimBoardTests {
  private func claim(_ name: String, revision: UInt64) -> Claim {
    Claim {
      $0.name = name
      $0.revision = revision
    }
  }

  @Test func aWatcherThatDoesNotReadIsEnded() async throws {
    let board = ClaimBoard(claims: [], revision: 0, bufferedEvents: 4)
    let slow = try board.watch("")
    let other = try board.watch("other")
    for revision in 1...5 { board.change(claim("busy", revision: UInt64(revision))) }
    #expect(board.watcherCount == 1)
    var revisions: [UInt64] = []
    let error = await rpcError { for try await event in slow.events { revisions.append(event.revision) } }
    #expect(revisions == [1, 2, 3, 4])
    #expect(error?.code == .resourceExhausted)
    #expect(error?.message.contains("list again") == true)
    withExtendedLifetime(other) {}
  }

  @Test func aWatchOfOneClaimHearsOfThatOneAlone() async throws {
    let board = ClaimBoard(claims: [claim("a", revision: 1), claim("b", revision: 2)], revision: 2)
    let watch = try board.watch("b")
    #expect(watch.claims.map(\.name) == ["b"])
    #expect(watch.revision == 2)
    board.change(claim("a", revision: 3))
    board.remove(claim("b", revision: 4))
    board.end(RPCError(.unavailable, "over"))
    var events: [ClaimEvent] = []
    _ = await rpcError { for try await event in watch.events { events.append(event) } }
    #expect(events.map(\.kind) == [.gone])
    #expect(board.list().claims.map(\.name) == ["a"])
    #expect(board.list().revision == 4)
    #expect(throws: RPCError.self) { _ = try board.watch("") }
  }

  @Test func aWatchThatIsGivenUpIsForgotten() async throws {
    let board = ClaimBoard(claims: [], revision: 0)
    let task = Task { for try await _ in try board.watch("").events {} }
    task.cancel()
    _ = await task.result
    #expect(board.watcherCount == 0)
  }
}
