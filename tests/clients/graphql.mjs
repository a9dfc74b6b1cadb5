// A GraphQL query to the gateway, as all clients send it.

import assert from 'node:assert/strict'

/** The data that answers a query; an answer with errors fails the test. */
export async function graphql (network, query, variables) {
  const { status, data, errors } = await graphqlAnswer(network, { query, variables })
  assert.equal(errors, undefined, JSON.stringify(errors))
  assert.equal(status, 200)
  return data
}

/** Status and body of the answer to a request with this body. */
export async function graphqlAnswer (network, body) {
  const answer = await fetch(network.graphql_url, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body)
  })
  return { status: answer.status, ...await answer.json() }
}
