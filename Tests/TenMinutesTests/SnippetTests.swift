import CertificateAuthority
import ExampleService
import Foundation
import Identities
import MeshTLS
import Testing

private let house = House(celsiusByRoom: ["kitchen": 21.5, "cellar": 9])

private func readings(_ celsius: Double...) -> [Reading] {
  celsius.map { value in Reading { $0.celsius = value } }
}

/// Runs `body` with a server as the page's `serve` makes it.
private func withHouse(_ body: (SocketEndpoint, ThermometersClient) async throws -> Void) async throws {
  let (endpoints, continuation) = AsyncStream.makeStream(of: SocketEndpoint.self)
  let running = Task { try await serve(house) { continuation.yield($0) } }
  var iterator = endpoints.makeAsyncIterator()
  let endpoint = try #require(await iterator.next())
  let channel = RPCChannel(endpoint)
  try await body(endpoint, ThermometersClient(channel))
  await channel.close()
  running.cancel()
  try await running.value
}

@Test func theServiceAnswersItsClient() async throws {
  try await withHouse { endpoint, thermometers in
    let kitchen = try await temperature(of: "kitchen", at: endpoint)
    #expect(kitchen == 21.5)
    #expect(try await temperatureIfKnown(of: "cellar", from: thermometers) == 9)
    #expect(try await temperatureIfKnown(of: "attic", from: thermometers) == nil)
    let error = await #expect(throws: RPCError.self) { _ = try await temperature(of: "attic", at: endpoint) }
    #expect(error?.message == "no thermometer in 'attic': there are ones in cellar, kitchen")
  }
}

@Test func messagesStreamEitherWay() async throws {
  try await withHouse { _, thermometers in
    #expect(try await firstReadings(3, of: "kitchen", from: thermometers).map(\.celsius) == [21.5, 21.5, 21.5])
    let mean = try await average(readings(10, 20, 30), by: thermometers)
    #expect(mean.readings == 3 && mean.celsius == 20)
    #expect(try await smoothed(readings(10, 20, 60), by: thermometers) == [10, 15, 30])
  }
}

@Test func compressionIsAskedFor() async throws {
  let hall = String(repeating: "hall ", count: 100)
  let server = RPCServer(services: [House(celsiusByRoom: [hall: 12])], interceptors: [CompressAnswers()])
  let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
  let running = Task { try await server.run() }
  let channel = RPCChannel(endpoint)
  #expect(try await compressedAverage(readings(10, 30), by: ThermometersClient(channel)).celsius == 20)
  for (compression, encoding) in [(nil, MessageEncoding.identity), (MessageEncoding.gzip, .gzip)] {
    let options = CallOptions(compression: compression)
    let answer = try await channel.answer(ThermometersMethods.read, ReadRequest { $0.room = hall }, options: options)
    #expect(answer.message.celsius == 12 && answer.messageEncoding == encoding)
  }
  await channel.close()
  running.cancel()
  try await running.value
}

@Test func theInterceptorAdmitsWhoKnowsTheWord() async throws {
  let server = guardedServer(of: house)
  let endpoint = try await server.bind(.tcp(host: "127.0.0.1", port: 0))
  let running = Task { try await server.run() }
  let channel = RPCChannel(endpoint)
  let thermometers = ThermometersClient(channel)
  let request = ReadRequest { $0.room = "kitchen" }
  #expect(try await thermometers.read(request, options: CallOptions(metadata: ["x-word": "sesame"])).celsius == 21.5)
  let error = await #expect(throws: RPCError.self) { _ = try await thermometers.read(request) }
  #expect(error?.code == .unauthenticated)
  await channel.close()
  running.cancel()
  try await running.value
}

/// A server's and a client's certificates of one authority, in a directory of the test's own.
private func certificates(in directory: String) throws -> (server: CertificatePaths, client: CertificatePaths) {
  let authority = try AuthorityDirectory(directory).create(cluster: "house", days: 2)
  func issue(_ role: ClusterIdentity.Role, _ name: String, ipAddresses: [[UInt8]] = []) throws -> CertificatePaths {
    let path = directory + "/" + name
    try CertificateDirectory(path).issue(
      ClusterIdentity(cluster: "house", role: role), by: authority, ipAddresses: ipAddresses, days: 1)
    return CertificatePaths(
      certificate: path + "/certificate.pem", key: path + "/key.pem", trustRoots: path + "/ca.pem")
  }
  return (
    try issue(.coordinator, "server", ipAddresses: [[127, 0, 0, 1]]), try issue(.tenant("cook"), "client")
  )
}

@Test func whoHasACertificateIsAnsweredUnderTLS() async throws {
  let directory = NSTemporaryDirectory() + "ten-minutes-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: directory) }
  let certificates = try certificates(in: directory)
  let (endpoints, continuation) = AsyncStream.makeStream(of: SocketEndpoint.self)
  let running = Task { try await serveSecurely(house, certificates.server) { continuation.yield($0) } }
  var iterator = endpoints.makeAsyncIterator()
  let endpoint = try #require(await iterator.next())
  #expect(try await secureTemperature(of: "kitchen", at: endpoint, certificates.client) == 21.5)
  let error = await #expect(throws: RPCError.self) { _ = try await temperature(of: "kitchen", at: endpoint) }
  #expect(error?.code == .unavailable)
  running.cancel()
  try await running.value
}

// MARK: The page

private let checkout = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

private func lines(_ path: String) throws -> [Substring] {
  try String(contentsOf: checkout.appending(path: path), encoding: .utf8)
    .split(separator: "\n", omittingEmptySubsequences: false)
}

/// The regions between two kinds of lines, in order, each as one text.
private func regions(_ lines: [Substring], from begin: String, to end: String) -> [String] {
  var regions: [String] = []
  var region: [Substring]?
  for line in lines {
    if line == begin, region == nil {
      region = []
    } else if line == end, let whole = region {
      regions.append(whole.joined(separator: "\n"))
      region = nil
    } else {
      region?.append(line)
    }
  }
  return regions
}

@Test func thePageShowsTheCodeThatIsCompiledHere() throws {
  let page = try lines("Sources/MeshRPC/MeshRPC.docc/MeshRPC-in-ten-minutes.md")
  let snippets = regions(try lines("Tests/TenMinutesTests/Snippets.swift"), from: "// snippet", to: "// end")
  #expect(snippets.count >= 6)
  #expect(regions(page, from: "```swift", to: "```") == snippets)
}

@Test func thePageShowsTheServiceThatIsGenerated() throws {
  let page = try lines("Sources/MeshRPC/MeshRPC.docc/MeshRPC-in-ten-minutes.md")
  let proto = try lines("proto/example/v1/thermometers.proto").joined(separator: "\n")
  let shown = try #require(regions(page, from: "```proto", to: "```").first)
  #expect(proto.contains(shown))
  #expect(shown.hasPrefix("package example.v1;"))
}
