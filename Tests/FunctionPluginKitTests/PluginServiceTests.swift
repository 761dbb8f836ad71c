import Services
import Testing

@testable import FunctionPluginKit

@Suite(.timeLimit(.minutes(1)))
struct PluginServiceTests {
  @Test func theHandshakeComesFirst() async throws {
    try await withRunningPlugin(in: ScratchDirectory(), describe: false) { plugin async throws in
      #expect(await refusal { try await plugin.create(request(1)) }?.code == .failedPrecondition)
      let description = try await plugin.describe(handshake)
      #expect(description.name == "notebook" && description.protocolVersions == [1])
      #expect(try await plugin.create(request(1)).phase == .created)
    }
  }

  @Test func anotherProtocolVersionOrHostIsRefused() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      let future = DescribeRequest {
        $0.host = "host-a"
        $0.protocolVersions = [2]
      }
      #expect(await refusal { try await plugin.describe(future) }?.code == .failedPrecondition)
      let other = DescribeRequest {
        $0.host = "host-b"
        $0.protocolVersions = [1]
      }
      #expect(await refusal { try await plugin.describe(other) }?.code == .failedPrecondition)
    }
  }

  @Test func aStatusNamesTheFunctionThatWasAskedFor() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      let status = try await plugin.create(request(1))
      #expect(status.function?.id == "notebook/1/1" && status.function?.token?.value == 1 && status.role == .direct)
    }
  }

  @Test func whatWasReleasedIsNotSetUpAgainByADelayedRequestEvenAfterARestart() async throws {
    let directory = try ScratchDirectory()
    try await withRunningPlugin(in: directory) { plugin async throws in
      _ = try await plugin.create(request(1))
      _ = try await plugin.attach(request(1))
      _ = try await plugin.detach(request(1))
      #expect(await refusal { try await plugin.attach(request(1)) }?.code == .failedPrecondition)
    }
    try await withRunningPlugin(in: directory) { plugin async throws in
      let error = await refusal { try await plugin.attach(request(1)) }
      #expect(
        error?.code == .failedPrecondition && error?.message.contains("highest token seen or released is 1") == true)
      #expect(error?.metadata["iov-highest-token"] == "1")
      #expect(try await plugin.destroy(request(1)).phase == .absent)
      #expect(await refusal { try await plugin.create(request(1)) }?.code == .failedPrecondition)
      #expect(try await plugin.discover(DiscoverRequest()).endNodes.first?.highestToken?.value == 1)
    }
  }

  @Test func oneTokenMeansOneSetOfParameters() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      _ = try await plugin.create(request(1))
      let error = await refusal { try await plugin.create(request(1, size: 2)) }
      #expect(error?.code == .invalidArgument && error?.message.contains("attributes") == true)
    }
  }

  @Test func aStaleTokenDoesNotTakeDownWhatANewerOneSetUp() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      _ = try await plugin.create(request(7))
      let error = await refusal { try await plugin.destroy(request(6)) }
      #expect(error?.code == .failedPrecondition && error?.message.contains("7") == true)
    }
  }

  @Test func verbsOfOneFunctionRunOneAfterTheOther() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      try await withThrowingTaskGroup(of: FunctionPhase.self) { group in
        for _ in 0..<50 { group.addTask { try await plugin.attach(request(1)).phase } }
        for try await phase in group { #expect(phase == .inUse) }
      }
    }
  }

  @Test func aFunctionIsKnownFromItsSetupToItsEnd() async throws {
    let directory = try ScratchDirectory()
    try await withRunningPlugin(in: directory) { _ = try await $0.create(request(1)) }
    try await withRunningPlugin(in: directory) { plugin async throws in
      #expect(try await plugin.observe(ObserveRequest()).functions.map { $0.function?.id } == ["notebook/1/1"])
      #expect(try await plugin.observe(ObserveRequest()).functions.first?.assignment == request(1).assignment)
      _ = try await plugin.destroy(request(1))
      #expect(try await plugin.observe(ObserveRequest()).functions.isEmpty)
    }
  }

  @Test func theAgentIsToldWheneverSomethingMayHaveChanged() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      _ = try await plugin.create(request(1))
      var told = try await plugin.watch(WatchRequest()).makeAsyncIterator()
      let first = try await told.next()
      _ = try await plugin.attach(request(1))
      // The end nodes are as before: it is a function that changed.
      #expect(try await told.next() == first)
    }
  }

  @Test func anErrorOfThePluginReachesTheAgentAsItIs() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      let error = await refusal { try await plugin.fence(request(1)) }
      #expect(error == RPCError(.unavailable, "This notebook cannot be closed from outside."))
      // The token is refused although the fence failed: it was asked for.
      #expect(await refusal { try await plugin.attach(request(1)) }?.code == .failedPrecondition)
      #expect(await refusal { try await plugin.connect(request(2)) }?.code == .unimplemented)
    }
  }

  @Test func controlIsInForceOnceTheFormerOneIsCutOffAtTheDevice() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      func control(_ token: UInt64, after former: UInt64) -> ControlRequest {
        ControlRequest {
          $0.endNode = "notebook/1"
          $0.controlToken = FencingToken { $0.value = token }
          $0.formerControlTokens = [FencingToken { $0.value = former }]
        }
      }
      func inForce() async throws -> UInt64? {
        try await plugin.discover(DiscoverRequest()).endNodes.first?.physicalFunction?.controlToken?.value
      }
      #expect(await refusal { try await plugin.takeControl(control(7, after: 6)) }?.code == .unavailable)
      #expect(try await inForce() == nil)
      #expect(try await plugin.takeControl(control(7, after: 5)).held)
      #expect(try await inForce() == 7)
      // Stale: the device is not asked.
      #expect(await refusal { try await plugin.takeControl(control(3, after: 6)) }?.code == .failedPrecondition)
    }
  }

  private func control(_ token: UInt64, functions count: UInt32?) -> ControlRequest {
    ControlRequest {
      $0.endNode = "notebook/1"
      $0.controlToken = FencingToken { $0.value = token }
      $0.functionCount = count
    }
  }

  @Test func anotherNumberOfFunctionsIsSettledOnceAndOutlivesTheProcess() async throws {
    let directory = try ScratchDirectory()
    try await withRunningPlugin(in: directory) { plugin async throws in
      for count in [nil, UInt32(4), 4, 2] { _ = try await plugin.takeControl(control(7, functions: count)) }
      // Stale: the number stays.
      #expect(await refusal { try await plugin.takeControl(control(6, functions: 9)) }?.code == .failedPrecondition)
      let endNode = try await plugin.discover(DiscoverRequest()).endNodes.first
      #expect(endNode?.labels["settled"] == "4,2")
      #expect(endNode?.physicalFunction?.functionCount?.ordered == 2)
      #expect(try await plugin.yieldControl(control(7, functions: nil)).held == false)
    }
    try await withRunningPlugin(in: directory) { plugin async throws in
      func endNode() async throws -> EndNode? { try await plugin.discover(DiscoverRequest()).endNodes.first }
      #expect(try await endNode()?.physicalFunction?.functionCount?.ordered == 2)
      _ = try await plugin.takeControl(control(8, functions: 2))
      #expect(try await endNode()?.labels["settled"] == "")
      _ = try await plugin.takeControl(control(8, functions: nil))
      #expect(try await endNode()?.labels["settled"] == "none")
      #expect(try await endNode()?.physicalFunction?.functionCount?.ordered == nil)
    }
  }

  /// What keeps the number is shown with the end node, and is no reason to be without control of it.
  @Test(arguments: [UInt32(3), 13])
  func theAgentIsToldThatANumberWasTakenUp(count: UInt32) async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      var told = try await plugin.watch(WatchRequest()).makeAsyncIterator()
      #expect(try await told.next()?.endNodes.first?.physicalFunction?.functionCount?.ordered == nil)
      #expect(try await plugin.takeControl(control(7, functions: count)).held)
      let endNode = try await told.next()?.endNodes.first
      // What failed is tried again, and not yet done.
      #expect(endNode?.physicalFunction?.functionCount?.ordered == (count == 13 ? nil : count))
      #expect(endNode?.labels["settled"] == "\(count)")
    }
  }

  @Test func whereAFunctionLiesIsToldLaterAndStaysSo() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      func request(at offset: UInt64?) -> FunctionRequest {
        var request = FunctionPluginKitTests.request(1)
        request.assignment?.extent = offset.map { offset in Extent { $0.offsetBytes = offset } }
        return request
      }
      _ = try await plugin.create(request(at: nil))
      _ = try await plugin.attach(request(at: 4096))
      let error = await refusal { try await plugin.attach(request(at: 8192)) }
      #expect(error?.code == .invalidArgument && error?.message.contains("another extent") == true)
      // A coordinator of an older store has yet to hear of it again.
      _ = try await plugin.attach(request(at: nil))
      #expect(try await plugin.observe(ObserveRequest()).functions.first?.assignment == request(at: 4096).assignment)
    }
  }

  @Test func limitsOfADiskChangeUnderOneToken() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      _ = try await plugin.create(request(1))
      var limited = request(1)
      limited.assignment?.attributes?.block?.maxReadOperationsPerSecond = 100
      limited.assignment?.attributes?.block?.burstFactor = 2
      #expect(try await plugin.attach(limited).phase == .inUse)
      limited.assignment?.attributes?.block?.minOperationsPerSecond = 100
      #expect(await refusal { try await plugin.attach(limited) }?.code == .invalidArgument)
    }
  }

  @Test func whoYieldedControlSetsNothingUp() async throws {
    try await withRunningPlugin(in: ScratchDirectory()) { plugin async throws in
      func control(_ token: UInt64) -> ControlRequest {
        ControlRequest {
          $0.endNode = "notebook/1"
          $0.controlToken = FencingToken { $0.value = token }
        }
      }
      #expect(try await plugin.takeControl(control(3)).held)
      _ = try await plugin.create(request(1))
      #expect(try await plugin.yieldControl(control(3)).held == false)
      #expect(await refusal { try await plugin.attach(request(1)) }?.code == .failedPrecondition)
      #expect(await refusal { try await plugin.takeControl(control(2)) }?.code == .failedPrecondition)
      #expect(try await plugin.takeControl(control(4)).held)
      #expect(try await plugin.attach(request(1)).phase == .inUse)
    }
  }
}
