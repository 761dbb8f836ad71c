import FunctionPluginKit
import Glibc
import LinuxDevices
import Services
import Synchronization
import Testing

@testable import BlockFunctions
@testable import iov_plugin_sata

/// A disk's function for a file server, direct or mediated, and what is served from it on the same host.
@Suite(.enabled(if: missingOnThisMachine == nil, "\(missingOnThisMachine ?? "")"), .timeLimit(.minutes(2)))
struct FileServerTests {
  private enum Way: Sendable, CaseIterable { case direct, mediated }

  /// Two hosts: one has the disk, the other is the file server; where the source is direct, they are one.
  private struct Rack {
    let disk: TestDisk
    let plugin: BlockPlugin<SATADisks>
    let server: FunctionRequest?
    let source: FunctionRequest

    init(_ way: Way, sizeBytes: UInt64 = 32 << 20, takesDiscard: Bool = true) async throws {
      disk = try TestDisk(takesDiscard: takesDiscard)
      plugin = try await disk.plugin()
      guard way == .mediated else {
        server = nil
        source = try await disk.request(.direct, on: plugin, sizeBytes: sizeBytes).forFileServer
        disk.know(source)
        _ = try await plugin.create(source)
        _ = try await plugin.attach(source)
        return
      }
      let server = try await disk.request(.server, on: plugin, sizeBytes: sizeBytes)
      _ = try await plugin.create(server)
      let port = try await plugin.serve(server).serverPort
      self.server = server
      source = try await disk.request(.consumer, on: plugin, sizeBytes: sizeBytes, serverPort: port).forFileServer
      disk.know(source)
      _ = try await plugin.connect(source)
    }

    var endNode: EndNode? {
      get async throws { try await plugin.discover().first { $0.id == source.assignment?.function } }
    }

    func part(_ role: Role, token: UInt64 = 1, sizeBytes: UInt64 = 4 << 20) async throws -> FunctionRequest {
      // Under a token that no function of the disk has.
      var request = try await disk.request(role, on: plugin, token: token + 100, sizeBytes: sizeBytes)
      disk.forget(request)
      let function = source.assignment?.function ?? ""
      request.assignment?.endNode = function
      request.assignment?.function = "\(function)/\(token + 100)"
      request.assignment?.source = source.assignment?.claim ?? ""
      request.assignment?.claim = "\(disk.claim)-part-\(token)"
      disk.know(request)
      return request
    }

    func letGoOfPart(_ request: FunctionRequest) async throws {
      _ = try await request.role == .server ? plugin.unserve(request) : plugin.detach(request)
      _ = try await plugin.scrub(request) { _, _ in }
      #expect(try await plugin.destroy(request).phase == .absent)
      disk.forget(request)
    }

    func letGoOfSource() async throws {
      if let server { _ = try await plugin.unserve(server) }
      _ = try await server == nil ? plugin.detach(source) : plugin.disconnect(source)
      let controlling = server ?? source
      _ = try await plugin.scrub(controlling) { _, _ in }
      _ = try await plugin.destroy(controlling)
      disk.forget(source)
      disk.forget(controlling)
    }
  }

  @Test(arguments: Way.allCases)
  private func whatIsHeldForThemIsAnEndNodeOfItsOwn(way: Way) async throws {
    let rack = try await Rack(way)
    let node = try #require(try await rack.endNode)
    #expect(node.source == rack.source.assignment?.claim)
    #expect(node.capacity?.sizeBytes == 32 << 20)
    #expect(node.capabilities?.paths == [.directSoftware, .mediated])
    #expect(node.health?.state == .healthy)
    #expect(node.name == "host-a/iov/\(node.source)")
    try await rack.letGoOfSource()
    #expect(try await rack.endNode == nil)
    #expect(rack.disk.leftovers() == [])
  }

  @Test(arguments: Way.allCases)
  private func bytesGoThroughTwoLevels(way: Way) async throws {
    let rack = try await Rack(way)
    let (direct, server) = (try await rack.part(.direct), try await rack.part(.server, token: 2))
    _ = try await rack.plugin.create(direct)
    let device = try #require(try await rack.plugin.attach(direct).arrival?.devicePath)
    let created = try await rack.plugin.create(server)
    #expect(created.function?.extent?.offsetBytes == 4 << 20)
    let port = try await rack.plugin.serve(server).serverPort
    let consumer = try await rack.part(.consumer, token: 2)
    var connected = consumer
    connected.assignment?.mediation?.serverPort = port
    rack.disk.know(connected)
    let far = try #require(try await rack.plugin.connect(connected).arrival?.devicePath)

    let (one, other) = (randomBytes(1 << 20), randomBytes(1 << 20))
    try await write(one, to: device)
    try await write(other, to: far)
    #expect(try await read(rack.disk.loop.path, count: 1 << 20) == one)
    #expect(try await read(rack.disk.loop.path, at: 4 << 20, count: 1 << 20) == other)
    // Another run of the plugin finds all of it.
    let next = try await rack.disk.plugin()
    let phases = try await next.observe().map(\.phase)
    #expect(phases.allSatisfy { $0 == .inUse } && phases.count == (way == .direct ? 4 : 5))

    _ = try await rack.plugin.unserve(server)
    _ = try await rack.plugin.disconnect(connected)
    rack.disk.forget(consumer)
    try await rack.letGoOfPart(server)
    #expect(try await read(rack.disk.loop.path, at: 4 << 20, count: 1 << 20).allSatisfy { $0 == 0 })
    #expect(try await read(rack.disk.loop.path, count: 1 << 20) == one)
    try await rack.letGoOfPart(direct)
    try await rack.letGoOfSource()
    #expect(rack.disk.leftovers() == [])
  }

  /// Its device went, by a kill or with its server: what is served from it would go on with a device without anything behind.
  @Test func aSourceThatIsConnectedAnewHasItsPartsServedAnew() async throws {
    let rack = try await Rack(.mediated)
    let (direct, server) = (try await rack.part(.direct), try await rack.part(.server, token: 2))
    for request in [direct, server] { _ = try await rack.plugin.create(request) }
    let device = try #require(try await rack.plugin.attach(direct).arrival?.devicePath)
    _ = try await rack.plugin.serve(server)
    let data = randomBytes(1 << 20)
    try await write(data, to: device)
    let process = try #require(rack.plugin.networkDisk(try FunctionPlan(rack.source)).process)
    try StorageDaemon.kill(process)

    let status = try #require(try await rack.plugin.observe().first { $0.function?.id == server.assignment?.function })
    #expect(status.phase == .unspecified)
    #expect(status.error?.message.contains("of which it is a part, is not attached on this host now") == true)
    #expect(try await rack.endNode == nil)
    _ = try await rack.plugin.connect(rack.source)
    for request in [direct, server] {
      let status = try await rack.plugin.observe().first { $0.function?.id == request.assignment?.function }
      #expect(status?.phase == .created)
    }
    let again = try #require(try await rack.plugin.attach(direct).arrival?.devicePath)
    #expect(try await read(again, count: 1 << 20) == data)
    for request in [direct, server] { try await rack.letGoOfPart(request) }
    try await rack.letGoOfSource()
    #expect(rack.disk.leftovers() == [])
  }

  @Test func whatIsServedGoesBeforeItsDeviceAlsoWhenNobodyAskedForThat() async throws {
    for way in Way.allCases {
      let rack = try await Rack(way)
      let (direct, server) = (try await rack.part(.direct), try await rack.part(.server, token: 2))
      for request in [direct, server] { _ = try await rack.plugin.create(request) }
      _ = try await rack.plugin.attach(direct)
      _ = try await rack.plugin.serve(server)
      try await rack.letGoOfSource()
      // Nothing is left of what was a part of it, and there is nothing that could be cleaned.
      for request in [direct, server] {
        _ = try await request.role == .server ? rack.plugin.unserve(request) : rack.plugin.detach(request)
        #expect(try await rack.plugin.scrub(request) { _, _ in }.phase == .absent)
        #expect(try await rack.plugin.destroy(request).phase == .absent)
      }
      #expect(rack.disk.leftovers() == [])
    }
  }

  @Test func partsOfWhatWasCutOffAtTheDeviceNeedNoDevice() async throws {
    let rack = try await Rack(.mediated)
    let server = try await rack.part(.server)
    _ = try await rack.plugin.create(server)
    _ = try await rack.plugin.serve(server)
    _ = try await rack.plugin.unserve(try #require(rack.server))
    let process = try #require(rack.plugin.networkDisk(try FunctionPlan(rack.source)).process)
    try StorageDaemon.kill(process)
    _ = try await rack.plugin.unserve(server)
    await #expect(throws: PluginError.self) { try await rack.plugin.scrub(server) { _, _ in } }
    await #expect(throws: PluginError.self) { try await rack.plugin.destroy(server) }
    var fenced = server
    fenced.fenced = true
    #expect(try await rack.plugin.destroy(fenced).phase == .absent)
    rack.disk.forget(server)
    try await rack.letGoOfSource()
    #expect(rack.disk.leftovers() == [])
  }

  /// Another root has cut this host off and serves the function from now on, to this host as well: the same, with what is on it.
  @Test func partsOfWhatComesBackFromAnotherHostAreWhereTheyWere() async throws {
    let rack = try await Rack(.direct)
    let part = try await rack.part(.server)
    _ = try await rack.plugin.create(part)
    _ = try await rack.plugin.serve(part)
    var taken = rack.source
    taken.fenced = true
    _ = try await rack.plugin.detach(taken)
    #expect(try await rack.plugin.destroy(taken).phase == .absent)
    rack.disk.forget(rack.source)
    // Nobody has let go of the part, and it is not clean.
    await #expect(throws: PluginError.self) { try await rack.plugin.scrub(part) { _, _ in } }
    let status = try #require(try await rack.plugin.observe().first { $0.role == .server })
    #expect(status.phase == .unspecified && status.error != nil)

    let server = try await rack.disk.request(.server, on: rack.plugin, token: 7, sizeBytes: 32 << 20)
    _ = try await rack.plugin.create(server)
    var source = try await rack.disk.request(.consumer, on: rack.plugin, token: 7, sizeBytes: 32 << 20).forFileServer
    rack.disk.forget(source)
    source.assignment?.mediation?.serverPort = try await rack.plugin.serve(server).serverPort
    source.assignment?.function = rack.source.assignment?.function ?? ""
    rack.disk.know(source)
    _ = try await rack.plugin.connect(source)
    let again = try await rack.plugin.observe().first { $0.function?.id == part.assignment?.function }
    #expect(again?.phase == .created && again?.function?.extent?.sizeBytes == 4 << 20)
    try await rack.letGoOfPart(part)
    _ = try await rack.plugin.unserve(server)
    _ = try await rack.plugin.disconnect(source)
    _ = try await rack.plugin.destroy(server)
    #expect(rack.disk.leftovers() == [])
  }

  @Test func theyStackOverHosts() async throws {
    // What asks for zeroes two levels above arrives there as a discard, and nothing comes of it.
    let rack = try await Rack(.mediated, takesDiscard: false)
    let upper = try await rack.part(.server, sizeBytes: 16 << 20)
    _ = try await rack.plugin.create(upper)
    let port = try await rack.plugin.serve(upper).serverPort
    // The other host knows what it is connected to, and not what that is a part of.
    let far = try TestDisk()
    let plugin = try await far.plugin(host: "host-b")
    var consumer = upper.forFileServer
    consumer.role = .consumer
    consumer.assignment?.mediation?.serverPort = port
    far.know(consumer)
    _ = try await plugin.connect(consumer)
    var top = try await far.request(.direct, on: plugin, token: 200, sizeBytes: 4 << 20)
    far.forget(top)
    top.assignment?.endNode = upper.assignment?.function ?? ""
    top.assignment?.source = upper.assignment?.claim ?? ""
    top.assignment?.function = "\(upper.assignment?.function ?? "")/200"
    far.know(top)
    _ = try await plugin.create(top)
    let device = try #require(try await plugin.attach(top).arrival?.devicePath)
    let data = randomBytes(1 << 20)
    try await write(data, to: device)
    #expect(try await read(rack.disk.loop.path, count: 1 << 20) == data)
    _ = try await plugin.detach(top)
    _ = try await plugin.scrub(top) { _, _ in }
    _ = try await plugin.destroy(top)
    far.forget(top)
    _ = try await rack.plugin.unserve(upper)
    _ = try await plugin.disconnect(consumer)
    try await rack.letGoOfPart(upper)
    try await rack.letGoOfSource()
    #expect(rack.disk.leftovers() == [] && far.leftovers() == [])
  }

  @Test func theyStackOnOneHost() async throws {
    let rack = try await Rack(.direct)
    let upper = try await rack.part(.direct, sizeBytes: 16 << 20).forFileServer
    rack.disk.know(upper)
    _ = try await rack.plugin.create(upper)
    _ = try await rack.plugin.attach(upper)
    var top = try await rack.part(.direct, token: 2)
    rack.disk.forget(top)
    let endNode = upper.assignment?.function ?? ""
    top.assignment?.endNode = endNode
    top.assignment?.function = "\(endNode)/102"
    rack.disk.know(top)
    _ = try await rack.plugin.create(top)
    let device = try #require(try await rack.plugin.attach(top).arrival?.devicePath)
    let data = randomBytes(1 << 20)
    try await write(data, to: device)
    #expect(try await read(rack.disk.loop.path, count: 1 << 20) == data)
    // The lowest one goes, and all that is on it before.
    try await rack.letGoOfSource()
    for request in [top, upper] {
      #expect(try await rack.plugin.detach(request).phase != .inUse)
      #expect(try await rack.plugin.destroy(request).phase == .absent)
      rack.disk.forget(request)
    }
    #expect(rack.disk.leftovers() == [])
  }

  @Test func whatSomebodyUsesOrHasDataOnIsNotServedFrom() async throws {
    let rack = try await Rack(.direct)
    let device = try #require(try await rack.plugin.observe().first?.arrival?.devicePath)
    let part = try await rack.part(.direct)
    do {
      let user = try FileDescriptor(opening: device, O_RDWR)
      let command = try ChildProcess.spawn(executable: "sleep", arguments: ["1000"], inheriting: [user.number])
      let error = await #expect(throws: PluginError.self) { try await rack.plugin.create(part) }
      #expect(error?.message.contains("sleep (process \(command.identity.pid)) has") == true)
      try StorageDaemon.kill(command.handle)
    }
    // A table of partitions with one entry.
    var table = [UInt8](repeating: 0, count: 512)
    table.replaceSubrange(510..<512, with: [0x55, 0xaa])
    (table[446 + 4], table[446 + 8], table[446 + 12]) = (0x83, 1, 8)
    try await write(table, to: device)
    #expect(try await rack.endNode?.health?.message.contains("wipefs --all /dev/iov/") == true)
    let error = await #expect(throws: PluginError.self) { try await rack.plugin.create(part) }
    #expect(error?.message.contains("carries data") == true)
    rack.disk.forget(part)
    try await rack.letGoOfSource()
    #expect(rack.disk.leftovers() == [])
  }
}

extension FunctionRequest {
  var forFileServer: FunctionRequest {
    var request = self
    request.assignment?.consumer = Consumer { $0.kind = .fileServer(FileServerConsumer()) }
    return request
  }
}
