// Creates passkeys and logs in with them: buttons with data-passkey="create" or "login".
async function post(url, body) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const content = response.status === 204 ? {} : await response.json();
  if (!response.ok) {
    throw new Error(content.errors?.[0]?.message ?? content.detail ?? response.statusText);
  }
  return content;
}

async function create({ options, url }) {
  const json = (await post(options, {})).options;
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json);
  const credential = await navigator.credentials.create({ publicKey });
  const name = document.querySelector("#name").value || "Passkey";
  return post(url, { credential: credential.toJSON(), name });
}

async function login({ options, url }) {
  const json = (await post(options, {})).options;
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(json);
  const credential = await navigator.credentials.get({ publicKey });
  return post(url, { credential: credential.toJSON() });
}

// The codes of the first passkey, which are shown once.
function showCodes(codes) {
  const items = codes.map((code) => {
    const item = document.createElement("li");
    item.append(code);
    return item;
  });
  document.querySelector("#codes").replaceChildren(...items);
  document.querySelector("#new-passkey").hidden = true;
  document.querySelector("#recovery-codes").hidden = false;
}

for (const button of document.querySelectorAll("[data-passkey]")) {
  if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
    continue;
  }
  button.hidden = false;
  button.addEventListener("click", async () => {
    const message = document.querySelector("#passkey-message");
    message.hidden = true;
    try {
      const content = await (button.dataset.passkey === "create" ? create : login)(button.dataset);
      if (content.recovery_codes?.length) {
        showCodes(content.recovery_codes);
      } else {
        window.location.assign(button.dataset.next);
      }
    } catch (error) {
      message.textContent = error.message;
      message.hidden = false;
    }
  });
}
