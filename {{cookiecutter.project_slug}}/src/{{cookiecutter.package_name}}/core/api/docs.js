// Use the dark theme of Swagger UI if the browser prefers dark colors.
const darkColors = matchMedia("(prefers-color-scheme: dark)");
const setTheme = () => document.documentElement.classList.toggle("dark-mode", darkColors.matches);
darkColors.addEventListener("change", setTheme);
setTheme();

SwaggerUIBundle({
  // Relative to this script, so that it also works below URL_PREFIX.
  url: new URL("openapi.json", document.currentScript.src).href,
  dom_id: "#swagger",
  deepLinking: true,
  tagsSorter: "alpha",
  validatorUrl: null,
});
