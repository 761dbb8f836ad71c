// The code of the page "MeshRPC in ten minutes". What stands between `snippet` and `end` is on the page, word for word: a
// test compares.

import ExampleService
import MeshTLS

// snippet
/// The thermometers of one house.
struct House: ThermometersService {
  let celsiusByRoom: [String: Double]

  func read(_ request: ReadRequest, call: ServerCall) async throws -> Reading {
    guard let celsius = celsiusByRoom[request.room] else {
      let rooms = celsiusByRoom.keys.sorted().joined(separator: ", ")
      throw RPCError(.notFound, "no thermometer in '\(request.room)': there are ones in \(rooms)")
    }
    return Reading {
      $0.room = request.room
      $0.celsius = celsius
    }
  }

  func watch(_ request: ReadRequest, responses: ResponseWriter<Reading>, call: ServerCall) async throws {
    // Until the caller stops: then this task is cancelled, and `write` throws. A server that is stopped need not wait for it.
    call.endWhenDraining()
    while true { try await responses.write(try await read(request, call: call)) }
  }

  func average(_ requests: RequestStream<Reading>, call: ServerCall) async throws -> Mean {
    var mean = Mean()
    for try await reading in requests { mean.add(reading) }
    return mean
  }

  func smooth(
    _ requests: RequestStream<Reading>, responses: ResponseWriter<Mean>, call: ServerCall
  ) async throws {
    var mean = Mean()
    for try await reading in requests {
      mean.add(reading)
      try await responses.write(mean)
    }
  }
}

extension Mean {
  mutating func add(_ reading: Reading) {
    readings += 1
    celsius += (reading.celsius - celsius) / Double(readings)
  }
}
// end

// snippet
func serve(_ house: House, isListening: (SocketEndpoint) -> Void) async throws {
  let server = RPCServer(services: [house])
  // Port 0 is one that is free; `bind` answers which. `.unix(path:)` is the other kind of endpoint.
  isListening(try await server.bind(.tcp(host: "127.0.0.1", port: 0)))
  try await server.run()
}
// end

// snippet
func temperature(of room: String, at endpoint: SocketEndpoint) async throws -> Double {
  let channel = RPCChannel(endpoint)
  let thermometers = ThermometersClient(channel)
  let reading = try await thermometers.read(ReadRequest { $0.room = room })
  await channel.close()
  return reading.celsius
}
// end

// snippet
func firstReadings(_ count: Int, of room: String, from thermometers: ThermometersClient) async throws -> [Reading] {
  var readings: [Reading] = []
  for try await reading in try await thermometers.watch(ReadRequest { $0.room = room }) {
    readings.append(reading)
    if readings.count == count { break }
  }
  return readings
}

func average(_ readings: [Reading], by thermometers: ThermometersClient) async throws -> Mean {
  let call = try await thermometers.average()
  for reading in readings { try await call.write(reading) }
  return try await call.response()
}

func smoothed(_ readings: [Reading], by thermometers: ThermometersClient) async throws -> [Double] {
  let call = try await thermometers.smooth()
  var means = call.responses.makeAsyncIterator()
  var smoothed: [Double] = []
  for reading in readings {
    try await call.write(reading)
    if let mean = try await means.next() { smoothed.append(mean.celsius) }
  }
  call.finishWriting()
  return smoothed
}
// end

// snippet
/// nil if there is no thermometer, or it takes more than a minute to say.
func temperatureIfKnown(of room: String, from thermometers: ThermometersClient) async throws -> Double? {
  do {
    let options = CallOptions(timeout: .seconds(60))
    return try await thermometers.read(ReadRequest { $0.room = room }, options: options).celsius
  } catch let error as RPCError where error.code == .notFound || error.code == .deadlineExceeded {
    return nil
  }
}
// end

// snippet
struct AdmitWhoKnowsTheWord: ServerInterceptor {
  func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
    guard call.metadata["x-word"] == "sesame" else {
      throw RPCError(.unauthenticated, "\(call.path) wants the word in 'x-word'")
    }
    try await next()
  }
}

func guardedServer(of house: House) -> RPCServer {
  RPCServer(services: [house], interceptors: [AdmitWhoKnowsTheWord()])
}
// end

// snippet
struct CompressAnswers: ServerInterceptor {
  func intercept(_ call: ServerCall, _ next: () async throws -> Void) async throws {
    call.compressResponses()
    try await next()
  }
}

func compressedAverage(_ readings: [Reading], by thermometers: ThermometersClient) async throws -> Mean {
  let call = try await thermometers.average(options: CallOptions(compression: .gzip))
  for reading in readings { try await call.write(reading) }
  return try await call.response()
}
// end

// snippet
/// Nobody gets in without a certificate of an authority in `trustRoots`.
func serveSecurely(
  _ house: House, _ certificates: CertificatePaths, isListening: (SocketEndpoint) -> Void
) async throws {
  let server = RPCServer(services: [house])
  isListening(try await server.bind(.tcp(host: "127.0.0.1", port: 0), security: try ServerTLS(certificates)))
  try await server.run()
}

func secureTemperature(
  of room: String, at endpoint: SocketEndpoint, _ certificates: CertificatePaths
) async throws -> Double {
  let channel = RPCChannel(endpoint, security: try ClientTLS(certificates))
  let reading = try await ThermometersClient(channel).read(ReadRequest { $0.room = room })
  await channel.close()
  return reading.celsius
}
// end
