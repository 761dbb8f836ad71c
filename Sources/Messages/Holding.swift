extension Holding {
  /// Takes what is news of a holding into what is kept of it.
  public mutating func take(_ news: Holding) {
    // What was granted before they were written down.
    if tenant.isEmpty { tenant = news.tenant }
    consumer = consumer ?? news.consumer
    inUse = inUse ?? news.inUse
    ended = ended ?? news.ended
    if whyEnded.isEmpty { whyEnded = news.whyEnded }
  }
}
