import Glibc
import LinuxDevices
import Services
import Testing

@testable import FunctionPluginKit

/// A ledger's file after some life, and the records in it.
private func livedThrough(_ directory: ScratchDirectory) throws -> [LedgerRecord] {
  var (file, ledger) = try LedgerFile.open(in: directory.path)
  let records: [LedgerRecord] = [
    .seen(request(1)), .seen(request(2, function: "notebook/1/2 with a blank")),
    .released("notebook/1/1", endNode: "notebook/1", token: 1), .gone("notebook/1/1"),
    .control("notebook/1", token: 9, yielded: true), .functionCount("notebook/1", 3),
    .functionCount("notebook/2", 4), .functionCount("notebook/2", nil),
  ]
  for record in records {
    try file.append(record, after: ledger)
    ledger.apply(record)
  }
  return records
}

@Test func aLedgerCutAtAnyByteIsALedgerOfWhatWasWholeBefore() throws {
  let directory = try ScratchDirectory()
  let records = try livedThrough(directory)
  let path = directory.path + "/tokens.ledger"
  let bytes = try SmallFile.read(path)
  for length in 0...bytes.count {
    try SmallFile.replace(path, with: Array(bytes[..<length]), durably: false)
    let (_, ledger) = try LedgerFile.open(in: directory.path)
    var expected = TokenLedger()
    var end = 0
    for record in records {
      end += RecordFile.line(record.text).count
      if end <= length { expected.apply(record) }
    }
    #expect(ledger.functions == expected.functions && ledger.endNodes == expected.endNodes)
  }
}

@Test func aLedgerDamagedBeforeItsEndIsRefused() throws {
  let directory = try ScratchDirectory()
  _ = try livedThrough(directory)
  let path = directory.path + "/tokens.ledger"
  var bytes = try SmallFile.read(path)
  bytes[12] ^= 1
  try SmallFile.replace(path, with: bytes, durably: false)
  let error = try #require(throws: PluginError.self) { _ = try LedgerFile.open(in: directory.path) }
  #expect(error.code == .dataLoss && error.message.contains("line 1"))
}

@Test func aRewrittenLedgerSaysTheSame() {
  var ledger = TokenLedger()
  for record: LedgerRecord in [
    .seen(request(1)), .released("notebook/1/1", endNode: "notebook/1", token: 1), .seen(request(5)),
    .seen(request(2, function: "b")), .released("b", endNode: "notebook/1", token: 2), .gone("b"),
    .control("notebook/1", token: 3, yielded: false), .functionCount("notebook/1", 0),
    .functionCount("notebook/2", 8), .functionCount("notebook/3", 8), .functionCount("notebook/3", nil),
  ] {
    ledger.apply(record)
  }
  var again = TokenLedger()
  for record in ledger.records { again.apply(record) }
  #expect(again.functions == ledger.functions)
  #expect(again.endNodes == ledger.endNodes.filter { $0.value != TokenLedger.EndNodeTokens() })
  #expect(again.endNodes["notebook/1"]?.functionCount == 0 && again.endNodes["notebook/2"]?.functionCount == 8)
}

/// As the kit wrote it before it knew of numbers of functions.
@Test func aLedgerOfBeforeIsReadAsItWas() throws {
  let directory = try ScratchDirectory()
  let lines = ["control 9 bm90ZWJvb2svMQ", "forgotten 4 bm90ZWJvb2svMQ"].flatMap { RecordFile.line($0) }
  try SmallFile.replace(directory.path + "/tokens.ledger", with: lines, durably: false)
  let (_, ledger) = try LedgerFile.open(in: directory.path)
  #expect(ledger.endNodes == ["notebook/1": .init(control: 9, forgotten: 4)])
}

@Test func howManyFunctionsThereAreToBeIsSaidByWhoHasControl() async throws {
  let directory = try ScratchDirectory()
  do {
    let ledger = try DurableLedger(directory: directory.path)
    try await ledger.takeControl("notebook/1", token: 3)
    try await ledger.setFunctionCount("notebook/1", 5, token: 3)
    await #expect(throws: LedgerError.self) { try await ledger.setFunctionCount("notebook/1", 6, token: 2) }
    try await ledger.yieldControl("notebook/1", token: 3)
    #expect(ledger.functionCount(of: "notebook/1") == 5)
  }
  do {
    let ledger = try DurableLedger(directory: directory.path)
    #expect(ledger.functionCount(of: "notebook/1") == 5 && ledger.functionCount(of: "notebook/2") == nil)
    try await ledger.setFunctionCount("notebook/1", nil, token: 3)
  }
  #expect(try DurableLedger(directory: directory.path).functionCount(of: "notebook/1") == nil)
}

@Test func aLedgerDoesNotGrowForEverAndForgetsNoRefusal() throws {
  var ledger = TokenLedger()
  for token in 1...UInt64(4 * TokenLedger.goneFunctionsKept) {
    ledger.apply(.seen(request(token, function: "notebook/1/\(token)")))
    ledger.apply(.released("notebook/1/\(token)", endNode: "notebook/1", token: token))
    ledger.apply(.gone("notebook/1/\(token)"))
  }
  #expect(ledger.functions.count <= 2 * TokenLedger.goneFunctionsKept)
  for token in [1, 1000, UInt64(4 * TokenLedger.goneFunctionsKept)] {
    #expect(throws: LedgerError.self) {
      try ledger.admit(request(token, function: "notebook/1/\(token)"), verb: "Attach")
    }
  }
  let next = UInt64(4 * TokenLedger.goneFunctionsKept) + 1
  #expect(try ledger.admit(request(next, function: "notebook/1/\(next)"), verb: "Create") != nil)
}

@Test func everyRecordSurvivesItsLine() {
  for record: LedgerRecord in [
    .seen(request(3)), .released("a b\n", endNode: "", token: .max), .gone("ü"), .forgotten("x", token: 7),
    .control("y", token: 1, yielded: true), .functionCount("ü b", .max), .functionCount("x", 0),
    .functionCount("x", nil),
  ] {
    let line = RecordFile.line(record.text)
    #expect(RecordFile.record(of: line.dropLast()).flatMap { LedgerRecord($0) } == record)
    var damaged = line
    damaged[damaged.count / 2] ^= 1
    #expect(RecordFile.record(of: damaged.dropLast()) == nil)
  }
}

@Test func aCommandLineIsUnderstoodOrExplained() throws {
  let all = ["--socket-fd", "3", "--configuration=c.yaml", "--state-directory", "/s", "--parent-pipe-fd", "4"]
  let arguments = try PluginArguments(parsing: all)
  #expect(arguments.socket == .descriptor(3) && arguments.configuration == "c.yaml" && arguments.parentPipe == 4)
  for wrong in [[], Array(all.dropLast()), all + ["--socket", "x"], all + ["--sockt"], ["--socket-fd", "x"]] {
    #expect(throws: UsageError.self) { try PluginArguments(parsing: wrong) }
  }
  #expect(arguments.tls == nil)
  let tls = ["--tls-certificate", "/c", "--tls-key", "/k", "--tls-trust-roots", "/r", "--tls-peer-subject"]
  let secured = try PluginArguments(parsing: all + tls + ["OU=x,CN={host}"]).tls
  #expect(secured?.subject(ofHost: "host-a") == "OU=x,CN=host-a")
  for wrong in [all + tls.dropLast(), all + tls + ["CN=host"]] {
    #expect(throws: UsageError.self) { try PluginArguments(parsing: Array(wrong)) }
  }
}
